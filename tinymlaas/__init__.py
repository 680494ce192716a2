"""tinymlaas: TinyML as a Service, a farm of ML compilers behind one interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinymlaas.client import Client as Client

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the client when it is asked for: `import tinymlaas` alone loads nothing."""
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module("tinymlaas.client").Client
