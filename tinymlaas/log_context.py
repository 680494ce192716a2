"""What the code that logs is doing it for: fields that every line gets until they are unbound.

Services bind them here without knowing how lines are written (`tinymlaas.logs`). Standard library
only: this is loaded before each fork, where structlog would cost 0.2 s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import MappingProxyType

_bound: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=MappingProxyType({}))


def fields() -> Mapping[str, object]:
    """Return what is bound here and now."""
    return _bound.get()


@contextlib.contextmanager
def bound(fields: Mapping[str, object]) -> Iterator[None]:
    """Have every line written within this context bear `fields`, besides those bound already.

    A thread begins without any; run it in a copy of the context to have them.
    """
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)
