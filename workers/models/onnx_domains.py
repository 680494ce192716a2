"""Whose operators an ONNX model uses: only sets that are known here, and functions of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tinymlaas.contract.errors import InvalidModel
from workers.models.limits import ModelLimits

DEFAULT_DOMAINS = ("", "ai.onnx")
KNOWN_DOMAINS = frozenset((*DEFAULT_DOMAINS, "ai.onnx.ml", "com.microsoft"))
"""Domains of onnx itself and of its runtime; what an operator of another does nobody here knows."""

MIN_OPSET = 13

Function = tuple[str, str, str]
"""Domain, name and overload: what a node calls a function by."""


def check_domains(model: Any, limits: ModelLimits) -> None:
    """Check the operator sets and functions of a parsed ``ModelProto``.

    Raises:
        InvalidModel: an operator set is unknown, stands twice or is of an unknown version; a node's
            operator is of none of them and no function of the model; a function takes the place of
            a known operator, calls itself, or all of them called grow to more than `limits.nodes`.
    """
    functions = _functions(model)
    own = {domain for domain, _, _ in functions}
    _opsets(model.opset_import, own)
    for function in functions.values():
        _opsets(function.opset_import, own, versions=False)
    for nodes in (model.graph.node, *(each.node for each in functions.values())):
        for node in nested(nodes):
            _known(node, functions)
    _expanded(model.graph.node, functions, limits)


def default_opset(model: Any) -> int | None:
    """Return the version of the default operator set, None if the model uses none."""
    versions = [each.version for each in model.opset_import if each.domain in DEFAULT_DOMAINS]
    return max(versions, default=None)


def nested(nodes: Iterable[Any]) -> Iterable[Any]:
    """Yield `nodes` and all in the graphs that are their attributes, at every depth."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        yield node
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                stack.extend(graph.node)


def _functions(model: Any) -> dict[Function, Any]:
    found: dict[Function, Any] = {}
    for each in model.functions:
        key = (each.domain, each.name, each.overload)
        if each.domain in KNOWN_DOMAINS:
            raise InvalidModel(
                f"function {each.name!r} is defined in domain {each.domain!r}, which is not the "
                "model's own: give it a domain of its own, or inline it with onnx.inliner"
            )
        if key in found:
            raise InvalidModel(f"function {each.name!r} of {each.domain!r} is defined twice")
        found[key] = each
    return found


def _opsets(imports: Iterable[Any], own: set[str], versions: bool = True) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    named = [("" if each.domain in DEFAULT_DOMAINS else each.domain) for each in imports]
    if versions and not named:
        raise InvalidModel("the ONNX model names no operator set (truncated?)")
    for domain, count in Counter(named).items():
        if count > 1:
            raise InvalidModel(f"operator set {domain or 'ai.onnx'!r} is imported twice")
        if domain not in KNOWN_DOMAINS | own:
            raise InvalidModel(_unknown(f"operator set {domain!r}"))
    for each in imports:
        version = each.version
        if each.domain not in DEFAULT_DOMAINS:
            continue
        if version < MIN_OPSET and versions:
            raise InvalidModel(
                f"ONNX opset {version} is older than {MIN_OPSET}: "
                "convert the model with onnx.version_converter or export it anew"
            )
        if not 0 < version <= newest:
            raise InvalidModel(
                f"ONNX opset {version} is not known yet (up to {newest}): export lower"
            )


def _known(node: Any, functions: Mapping[Function, Any]) -> None:
    if node.domain not in KNOWN_DOMAINS and _called(node) not in functions:
        raise InvalidModel(_unknown(f"operator {node.op_type!r} of domain {node.domain!r}"))


def _called(node: Any) -> Function:
    return (node.domain, node.op_type, node.overload)


def _unknown(what: str) -> str:
    known = ", ".join(sorted(KNOWN_DOMAINS - {""}))
    return (
        f"{what} is unknown (known are {known}, and functions in the model): "
        "express it in operators of ONNX"
    )


def _expanded(nodes: Iterable[Any], functions: Mapping[Function, Any], limits: ModelLimits) -> None:
    """Refuse functions that call themselves, and what grows too large when all are inlined."""
    sizes: dict[Function, int] = {}
    calls = {
        key: Counter(called for n in nested(each.node) if (called := _called(n)) in functions)
        for key, each in functions.items()
    }
    own = {key: sum(1 for _ in nested(each.node)) for key, each in functions.items()}
    pending = [(key, False) for key in functions]
    entered: set[Function] = set()
    while pending:
        key, finished = pending.pop()
        if finished:
            sizes[key] = own[key] + sum(sizes[each] * n for each, n in calls[key].items())
            entered.discard(key)
        elif key in entered:
            raise InvalidModel(f"function {key[1]!r} of {key[0]!r} calls itself")
        elif key not in sizes:
            entered.add(key)
            pending.append((key, True))
            pending += [(each, False) for each in calls[key] if each not in sizes]
    total = sum(1 + sizes.get(_called(node), 0) for node in nested(nodes))
    if total > limits.nodes:
        raise InvalidModel(f"with its functions the model has more than {limits.nodes} nodes")
