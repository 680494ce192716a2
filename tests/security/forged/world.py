"""A signed module with its bill of materials, who is trusted, and forgers' tools."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from storage import dsse
from storage.archive import read_archive
from storage.keyring import KeyEntry
from storage.provenance import (
    PAYLOAD_TYPE,
    Builder,
    encode_statement,
    pool_builder,
    sign_module,
    statement_of,
)
from storage.sbom import SBOM_PATH, bill_of_materials
from storage.signing import LocalSigner
from storage.verify import TrustedKey, VerifiedModule, verify_module
from tests.unit.storage import modules
from tests.unit.storage.keyrings import NOW, entry, keyring
from tinymlaas.contract.errors import VerificationError
from workers.pack import pack

TVM = pool_builder("tvm")
TFLM = pool_builder("tflm")
SIGNER, SECOND, THIRD, STRANGER = (LocalSigner.generate() for _ in range(4))


def archive_of(**changes: object) -> bytes:
    """A module archive with all kinds of members, the bill of materials too."""
    manifest = modules.manifest(**changes)
    bill = bill_of_materials(manifest, "d" * 64, {"apache-tvm": "0.27.0.post1"})
    return pack(manifest, {**modules.MEMBERS, SBOM_PATH: bill})


ARCHIVE = archive_of()
MEMBERS = {**read_archive(ARCHIVE).members}


def envelope_by(
    signer: LocalSigner,
    builder: str = TVM,
    archive: bytes = ARCHIVE,
    sandbox: str | None = "bubblewrap",
    **asked: object,
) -> bytes:
    return sign_module(
        archive, modules.asked(**asked), signer, Builder(id=builder), sandbox=sandbox
    )


ENVELOPE = envelope_by(SIGNER)
PAYLOAD = encode_statement(
    statement_of(read_archive(ARCHIVE), modules.asked(), Builder(id=TVM), sandbox="bubblewrap")
)


def trusting(*entries: KeyEntry) -> tuple[TrustedKey, ...]:
    """Whom a keyring of these entries trusts at `NOW`."""
    return keyring(*entries).trusted(NOW)


TRUSTED = trusting(entry(SIGNER, TVM))


def verified(
    archive: bytes = ARCHIVE,
    envelope: bytes | None = ENVELOPE,
    trusted: Sequence[TrustedKey] = TRUSTED,
    threshold: int = 1,
    require_sandbox: bool = False,
) -> VerifiedModule:
    return verify_module(
        archive, envelope, trusted, threshold=threshold, require_sandbox=require_sandbox
    )


def refusal(**case: Any) -> str:
    """The reason for the refusal; any other exception than ours fails the test."""
    with pytest.raises(VerificationError) as caught:
        verified(**case)
    assert len(caught.value.reasons) >= 1
    reason = str(caught.value)
    assert reason
    assert reason.isprintable()
    return reason


def sealed(payload: bytes, signer: LocalSigner = SIGNER, kind: str = PAYLOAD_TYPE) -> bytes:
    return dsse.seal(kind, payload, signer)


def edited(envelope: bytes = ENVELOPE, **changes: object) -> bytes:
    """The envelope with fields of it, or of its one signature, replaced."""
    value = json.loads(envelope)
    for name, new in changes.items():
        target = value["signatures"][0] if name in {"sig", "keyid"} else value
        target[name] = new
    return json.dumps(value, separators=(",", ":")).encode()


def sampled_flips(data: bytes, step: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """One bit flipped at every `step`-th position, from a place and in a bit drawn by `seed`."""
    draw = random.Random(seed)
    for position in range(draw.randrange(step), len(data), step):
        yield position, _flipped(data, position, draw.randrange(8))


def all_flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every single bit flipped."""
    for position in range(len(data)):
        for bit in range(8):
            yield position, _flipped(data, position, bit)


def _flipped(data: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1 << bit
    return bytes(changed)
