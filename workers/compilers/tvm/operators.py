"""Static facts: what the TVM frontends have converters for. Known without importing TVM."""
