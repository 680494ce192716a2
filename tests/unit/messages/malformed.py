"""Compile requests that are none: (what is wrong, the bytes). Shared with the tests of the farm."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import CompileOrder, CompileRequested, Payload

MODEL = b"a model"


def sound(tenant: str = "acme", job: str = "job-1", **changes: Any) -> CompileRequested:
    order = {"tenant": tenant, "model": Payload.of(MODEL, tenant), "board": "nucleo-l4r5zi"}
    return CompileRequested(id=job, source="test", data=CompileOrder(**(order | changes)))


TRICKS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "tenants/other/blobs/" + "0" * 64,
    "s3://bucket/key",
    "file:///etc/passwd",
    "a\x00b",
    "a\nb",
    "a/../b",
    "a\\..\\b",
    "%2e%2e%2f",
    "\u202eevil",
    "\x1b[31m",
    "",
    " ",
    "x" * 5000,
    "$(reboot)",
    "'; DROP TABLE jobs; --",
    "board.toml",
]
# Fields of an order that are names, by their path in the message.
NAMES = [
    ("id",),
    ("data", "tenant"),
    ("data", "name"),
    ("data", "board"),
    ("data", "compiler"),
    ("data", "objective"),
    ("data", "model", "digest"),
    ("data", "model", "reference"),
    ("data", "model", "filename"),
    ("data", "reply"),
]
WRONG = [None, True, 5, -1, 1.5, [], {}, [[]], "x", {"a": 1}, [None], 10**400, "5", "\ud800"]


def _changed(path: tuple[str, ...], change: Callable[[dict[str, Any], str], None]) -> bytes:
    value = json.loads(sound().encoded())
    inner = value
    for part in path[:-1]:
        inner = inner[part]
    change(inner, path[-1])
    return json.dumps(value).encode()


def _set(path: tuple[str, ...], new: Any) -> bytes:
    return _changed(path, lambda inner, key: inner.__setitem__(key, copy.deepcopy(new)))


def not_json() -> Iterator[tuple[str, bytes]]:
    whole = sound().encoded()
    rng = random.Random(1)
    for _ in range(260):
        yield "cut short", whole[: rng.randrange(len(whole))]
    for _ in range(180):
        yield "noise", rng.randbytes(rng.randrange(1, 400))
    for text in (b"", b"null", b"[]", b"{}", b'"x"', b"1", b"nan", b"\xff\xfe", b"\x00" * 50):
        yield "another value", text
    yield "twice", whole + whole
    yield "comment", whole + b"// x"
    yield "same key twice", whole[:-1] + b',"id":"x"}'
    for constant in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        yield "no number", whole[:-1] + b',"extra":' + constant + b"}"


def huge_or_deep() -> Iterator[tuple[str, bytes]]:
    whole = sound().encoded()
    yield "huge", whole[:-1] + b" " * (256 * 1024) + b"}"
    yield "huge string", _set(("data", "name"), "a" * 300_000)
    yield "huge number", whole[:-1] + b',"n":' + b"9" * 5000 + b"}"
    for depth in (25, 100, 1000, 50_000):
        yield "deep lists", b"[" * depth + b"]" * depth
        yield "deep objects", b'{"a":' * depth + b"1" + b"}" * depth
        yield "deep inside", whole[:-1] + b',"n":' + b"[" * depth + b"]" * depth + b"}"
        yield "deep and cut", b"[" * depth


def wrong_types() -> Iterator[tuple[str, bytes]]:
    places = [(key,) for key in ("id", "source", "type", "specversion", "data")]
    places += [("data", key) for key in CompileOrder.model_fields]
    places += [("data", "model", key) for key in Payload.model_fields]
    for place in places:
        for wrong in WRONG:
            if _may_be(place, wrong):
                continue
            yield f"{'.'.join(place)} = {str(wrong)[:20]!a}", _set(place, wrong)
    for key in ("id", "source", "type", "data"):
        if key != "type":
            yield f"no {key}", _changed((key,), lambda inner, key: inner.pop(key))
    for key in ("tenant", "model", "board"):
        yield f"no {key}", _changed(("data", key), lambda inner, key: inner.pop(key))
    for key in ("Tenant", "priorty", "models", "__proto__", "self", "model_digest"):
        yield f"unknown {key}", _set(("data", key), "x")


def _may_be(place: tuple[str, ...], wrong: Any) -> bool:
    """True where `wrong` is not wrong at all."""
    key = place[-1]
    if wrong is None:
        return key in {"calibration", "device", "deadline", "reply", "reference", "budget", "data"}
    if wrong is True:
        return key == "first"
    if wrong == {}:
        return key in {"race", "shapes", "options"}
    if wrong == 5:
        return key in {"priority", "budget"}
    if wrong == 1.5:
        return key == "budget"
    if isinstance(wrong, str) and wrong in {"x", "5"}:
        return key in {"source", "tenant", "board", "filename", "id"} or (
            wrong == "x" and key in {"name", "compiler"}
        )
    return wrong == {"a": 1} and key == "nothing"


def tricks() -> Iterator[tuple[str, bytes]]:
    for place in NAMES:
        for trick in TRICKS:
            fine = place in {("data", "model", "filename"), ("id",)} and trick == "board.toml"
            if not (fine and place != ("id",)):
                yield f"{'.'.join(place)} = {trick[:20]!a}", _set(place, trick)
    for trick in TRICKS:
        yield f"option {trick[:20]!a}", _set(("data", "options"), {trick: "1"})
        if trick != "board.toml":
            yield f"option value {trick[:20]!a}", _set(("data", "options"), {"a": trick})
    for queue in ("compile.requests", "pool.tvm", "reply", "reply.", "reply.a b", "amq.topic"):
        yield f"reply {queue}", _set(("data", "reply"), queue)


def bad_payloads() -> Iterator[tuple[str, bytes]]:
    other = base64.b64encode(b"another").decode()
    large = b"m" * (48 * 1024)
    yield "other bytes", _set(("data", "model", "inline"), other)
    yield "no base64", _set(("data", "model", "inline"), "***")
    yield "not padded", _set(("data", "model", "inline"), "YQ")
    yield "empty", _set(("data", "model"), {"digest": sha256(b""), "inline": ""})
    yield (
        "too large inline",
        _set(
            ("data", "model"),
            {"digest": sha256(large), "inline": base64.b64encode(large).decode()},
        ),
    )
    for digest in ("", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"):
        yield f"digest {digest[:10]!a}", _set(("data", "model", "digest"), digest)
        yield (
            f"reference with digest {digest[:10]!a}",
            _set(
                ("data", "model"), {"digest": digest, "reference": f"tenants/acme/blobs/{digest}"}
            ),
        )
    for tenant in ("other", "..", "acme/../other", ""):
        where = f"tenants/{tenant}/blobs/{'0' * 64}"
        yield (
            f"model of {tenant!r}",
            _set(("data", "model"), {"digest": "0" * 64, "reference": where}),
        )
        yield (
            f"samples of {tenant!r}",
            _set(("data", "calibration"), {"samples": {"digest": "0" * 64, "reference": where}}),
        )
    yield (
        "both",
        _set(("data", "model", "reference"), f"tenants/acme/blobs/{sha256(MODEL)}"),
    )


def numbers() -> Iterator[tuple[str, bytes]]:
    for priority in (-1, 10, 100, 2**63, 4.0, "4"):
        yield f"priority {priority}", _set(("data", "priority"), priority)
    for deadline in (
        "tomorrow",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00",
        1700000000,
        "9" * 40,
    ):
        yield f"deadline {deadline}", _set(("data", "deadline"), deadline)
    for shape in ([0], [-1], [2**31], [1.0], ["1"], [1] * 9, 1, None):
        yield f"shape {shape}", _set(("data", "shapes"), {"x": shape})
    for race in ({"weights": {"latency": 0}}, {"weights": {"speed": 1}}, {"limits": {"ram": 1}}):
        yield f"race {race}", _set(("data", "race"), race)
    for limits in ({"accuracy": 0.9}, {"ram_bytes": -1}, {"error": -0.1}, {"flash_bytes": "64k"}):
        yield f"limits {limits}", _set(("data", "race"), {"limits": limits})
    yield "many shapes", _set(("data", "shapes"), {f"x{n}": [1] for n in range(65)})
    yield "many options", _set(("data", "options"), {f"x{n}": "1" for n in range(33)})
    for trace in ("x", "00-" + "0" * 32, "01-" + "0" * 32 + "-" + "0" * 16 + "-01", 5):
        yield f"traceparent {trace}", _set(("traceparent",), trace)


def kinds() -> list[tuple[str, bytes]]:
    """All of them, in a fixed order; each set of bytes once."""
    sources = (not_json, huge_or_deep, wrong_types, tricks, bad_payloads, numbers)
    unique = {data: what for source in sources for what, data in source()}
    return [(what, data) for data, what in unique.items()]
