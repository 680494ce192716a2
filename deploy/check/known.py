"""Which environment variables the code reads: found in the code, not listed beside it."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = ("tinymlaas", "workers", "scheduler", "broker", "storage")
_OURS = re.compile(r"TINYMLAAS_[A-Z0-9_]*[A-Z0-9]")


@functools.cache
def variables() -> frozenset[str]:
    """Return the names of all variables that our code, boto3 or OpenTelemetry heed."""
    found = set(_of_boto3()) | set(_of_opentelemetry())
    for package in _PACKAGES:
        for path in (_ROOT / package).rglob("*.py"):
            source = path.read_bytes()
            if b"TINYMLAAS_" in source or b"environ" in source:  # most files need no parsing
                found |= set(_read_in(source, str(path)))
    return frozenset(found)


def _read_in(source: bytes, name: str) -> Iterator[str]:
    """Yield our own names, wherever they stand as such, and what is asked of an environment."""
    for node in ast.walk(ast.parse(source, name)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _OURS.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == "get" and _is_environment(node.func.value):
                yield from _text(node.args[0])
        elif isinstance(node, ast.Subscript) and _is_environment(node.value):
            yield from _text(node.slice)


def _is_environment(node: ast.expr) -> bool:
    name = getattr(node, "attr", None) or getattr(node, "id", "")
    return name in {"environ", "environment"}


def _text(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _of_boto3() -> Iterator[str]:
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
    from botocore.credentials import EnvProvider

    yield from (EnvProvider.ACCESS_KEY, EnvProvider.SECRET_KEY, *EnvProvider.TOKENS)
    for _, names, _, _ in BOTOCORE_DEFAUT_SESSION_VARIABLES.values():
        yield from [names] if isinstance(names, str) else names or []


def _of_opentelemetry() -> Iterator[str]:
    from opentelemetry.sdk import environment_variables as sdk

    yield from (value for name, value in vars(sdk).items() if name.startswith("OTEL_"))
