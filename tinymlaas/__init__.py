"""tinymlaas: TinyML as a Service, a farm of ML compilers behind one interface."""

__version__ = "0.1.0"
