"""What is fuzzed: who reads the bytes, from which seeds, changed how, and what must hold."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from storage import archive, diagnosis, dsse
from storage.provenance import PAYLOAD_TYPE
from storage.signing import LocalSigner
from storage.verify import trusted_key, verify_module
from tests.fuzz import archives_, json_, protobuf_, seeds_, tflite_
from tests.fuzz.bytes_ import BYTES, Mutation
from tests.unit.storage import modules
from tinymlaas.contract import messages, pool_messages, queue_messages, wire
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.tensors import DType, Quantization, TensorSpec
from workers.models.limits import DEFAULT_LIMITS
from workers.models.summary import Inspected
from workers.samples import check_labelled, load_samples
from workers.sandbox import codec, errors


@dataclass(frozen=True)
class Target:
    """One reader of bytes from outside. `check` returns if they are taken and raises one of our
    errors if not; anything else it raises has been found. Without a `check` a heavy parser reads
    them, in a child (`boxed`).
    """

    name: str
    share: int  # of a hundred cases
    seeds: tuple[bytes, ...]
    mutations: tuple[Mutation, ...]
    check: Callable[[bytes], None] | None = None
    typed: tuple[type[Exception], ...] = ()  # errors of ours besides TinymlaasError


def _onnx(data: bytes) -> None:
    """What the walk lets pass, protobuf must read in the same way."""
    from workers.models import onnx_checks
    from workers.models.onnx_domains import check_domains
    from workers.models.onnx_wire import check_onnx_wire

    walked = check_onnx_wire(data, DEFAULT_LIMITS)
    model = onnx_checks.parse_onnx(data)
    built = Counter(message.DESCRIPTOR.name for message in onnx_checks.walk(model))
    assert built == walked.messages, f"walked {walked.messages}, protobuf built {built}"
    for message in onnx_checks.walk(model):
        assert message.DESCRIPTOR.name != "TensorProto" or not message.external_data
    check_domains(model, DEFAULT_LIMITS)


def _tflite(data: bytes) -> None:
    """What is verified, all of our own code may read."""
    from workers.models.hygiene import sniff
    from workers.models.summary import summarise

    summarise(data, sniff(data, "mutant.tflite"))


_FLOAT = TensorSpec(name="image", shape=(1, 2, 4), dtype=DType.FLOAT32)
_INT8 = _FLOAT.model_copy(
    update={"dtype": DType.INT8, "quantization": Quantization(scale=0.5, zero_point=3)}
)


def _npz(data: bytes) -> None:
    loaded = load_samples(data, "s.npz", [_FLOAT], 100)
    for sample in loaded.samples:
        assert sample[0].shape == _FLOAT.shape
        assert np.isfinite(sample[0]).all()
    load_samples(data, "s.npz", [_INT8], 100)
    check_labelled(data, "s.npz")


_KINDS: dict[str, type[messages.Event]] = {
    kind.TYPE: kind
    for module in (messages, pool_messages, queue_messages)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, messages.Event) and kind is not messages.Event
}


def _message(data: bytes) -> None:
    """A message is what it says it is, or what a queue that it lies in says."""
    value = wire.loads(data)
    named = value.get("type") if isinstance(value, dict) else None
    kind = _KINDS.get(named) if isinstance(named, str) else None
    kind = kind or sorted(_KINDS.values(), key=lambda each: each.TYPE)[len(data) % len(_KINDS)]
    message = wire.parse(data, kind, wire.MAX_TRUSTED_BYTES)
    assert wire.parse(message.encoded(), kind, wire.MAX_TRUSTED_BYTES) == message
    if isinstance(message, messages.CompileRequested):
        for payload in message.data.payloads():
            assert payload.inline is None or sha256(payload.content()) == payload.digest
        message.data.by_reference()


_SIGNER = LocalSigner.generate()
_TRUSTED = [trusted_key(_SIGNER.public_key.pem)]
_ARCHIVE = modules.archive()
_ENVELOPE = modules.envelope(_ARCHIVE, _SIGNER)
_MANIFEST_DIGEST = archive.read_archive(_ARCHIVE).manifest_digest


def _archive(data: bytes) -> None:
    """Of all archives the signed one alone verifies; why another does not, is said in any case."""
    reasons = diagnosis.changes(data, _MANIFEST_DIGEST)
    assert reasons
    assert all(reason.isprintable() for reason in reasons)
    if data == _ARCHIVE:
        return
    try:
        verify_module(data, _ENVELOPE, _TRUSTED)
    except wire.Rejection:
        archive.read_archive(data)
    else:
        raise AssertionError("a changed archive verifies")


def _envelope(data: bytes) -> None:
    """An envelope that still verifies says what the genuine one says."""
    module = verify_module(_ARCHIVE, data, _TRUSTED)
    assert dsse_payload(data) == dsse_payload(_ENVELOPE)
    assert module.statement.archive_digest == sha256(_ARCHIVE)


def dsse_payload(data: bytes) -> bytes:
    """Return what an envelope carries, as Python's own JSON reader and base64 take it."""
    import base64

    text = json.loads(data)["payload"].translate(str.maketrans("-_", "+/"))
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _statement(data: bytes) -> None:
    """A trusted key has signed anything: still no error but ours."""
    verify_module(_ARCHIVE, dsse.seal(PAYLOAD_TYPE, data, _SIGNER), _TRUSTED)


def _answer(data: bytes) -> None:
    """What comes out of a sandbox is read as what was expected, or refused."""
    refused: codec.Malformed | None = None
    for kind in (Inspected, Inspection, list[str], dict[str, float], tuple[np.ndarray, ...]):
        try:
            codec.decode(kind, data)
            return
        except codec.Malformed as error:
            refused = error
    try:
        error = errors.decode(json.loads(data[4:]))
    except (ValueError, RecursionError):  # as `workers.sandbox.client` does
        assert refused is not None
        raise refused from None
    assert all(reason.isprintable() for reason in error.reasons)


def _answers() -> tuple[bytes, ...]:
    from tests.unit.models.builders import tiny_onnx
    from workers.models.summary import inspect

    values: Sequence[object] = (
        inspect(tiny_onnx(), "m"),
        ["a", "b"],
        {"a": 1.5},
        (np.ones((2, 3), "f4"), np.arange(4)),
    )
    failed = json.dumps({"error": "InvalidModel", "reasons": ["it is damaged"]}).encode()
    return (*(codec.encode(value) for value in values), len(failed).to_bytes(4, "little") + failed)


@functools.cache
def targets() -> tuple[Target, ...]:
    """Return all targets; their shares make a hundred."""
    json_mutations = (*BYTES, *[json_.tree] * 12, json_.doubled)
    onnx = (*BYTES, *[protobuf_.message] * 16)
    tflite = (*BYTES, *[tflite_.objects] * 6)
    answer = (*BYTES, *[json_.behind_its_length] * 12, *[json_.within] * 4)
    statement = dsse.parse(_ENVELOPE).payload
    onnx_seeds = seeds_.read("onnx", "found/onnx")
    tflite_seeds = seeds_.read("tflite", "found/tflite")
    return (
        Target("onnx", 20, onnx_seeds, onnx, _onnx),
        Target("onnx in the sandbox", 8, onnx_seeds, onnx),
        Target("tflite", 16, tflite_seeds, tflite, _tflite),
        Target("tflite in the sandbox", 6, tflite_seeds, tflite),
        Target("npz", 12, seeds_.read("npz", "found/npz"), (*BYTES, archives_.repacked), _npz),
        Target("message", 18, seeds_.read("messages", "found/message"), json_mutations, _message),
        Target(
            "archive",
            8,
            (_ARCHIVE, *seeds_.read("found/archive")),
            (*BYTES, *[archives_.ours] * 8),
            _archive,
        ),
        Target(
            "envelope", 5, (_ENVELOPE, *seeds_.read("found/envelope")), json_mutations, _envelope
        ),
        Target(
            "statement", 3, (statement, *seeds_.read("found/statement")), json_mutations, _statement
        ),
        Target(
            "answer",
            4,
            (*_answers(), *seeds_.read("found/answer")),
            answer,
            _answer,
            (codec.Malformed,),
        ),
    )
