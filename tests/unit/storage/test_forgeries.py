"""Every forged module is refused, and says what is forged."""

from __future__ import annotations

import base64
import io
import json
import random
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import diagnosis, dsse, stored_zip
from storage.archive import MANIFEST_PATH, encode_manifest, read_archive
from storage.provenance import (
    PAYLOAD_TYPE,
    Builder,
    Statement,
    encode_statement,
    sign_module,
    statement_of,
)
from storage.signing import LocalSigner
from storage.verify import trusted_key, verify_module
from tests.unit.storage import modules
from tinymlaas.contract.errors import VerificationError

SIGNER = LocalSigner.generate()
TRUSTED = [trusted_key(SIGNER.public_key.pem)]
ARCHIVE = modules.archive()
ENVELOPE = modules.envelope(ARCHIVE, SIGNER)
QUIET = settings(derandomize=True, database=None, deadline=None, max_examples=400)


def refusal(archive: bytes = ARCHIVE, envelope: bytes | None = ENVELOPE) -> str:
    """The reason why this is refused. Any other exception than ours fails the test."""
    with pytest.raises(VerificationError) as caught:
        verify_module(archive, envelope, TRUSTED)
    reason = str(caught.value)
    assert reason
    assert reason.isprintable()
    return reason


def test_the_genuine_module_verifies() -> None:
    module = verify_module(ARCHIVE, ENVELOPE, TRUSTED)
    assert module.key == SIGNER.public_key
    assert module.manifest == read_archive(ARCHIVE).manifest
    assert module.statement.archive_digest == module.archive.digest


def _flipped(data: bytes, seed: int) -> list[tuple[int, bytes]]:
    """Every position once, one bit of it."""
    bits = random.Random(seed)
    flips = []
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << bits.randrange(8)
        flips.append((position, bytes(changed)))
    return flips


def test_every_flipped_byte_of_the_archive_is_refused_and_named() -> None:
    manifest = stored_zip.read(ARCHIVE)[MANIFEST_PATH]
    start = ARCHIVE.index(manifest)
    library = ARCHIVE.index(modules.MEMBERS["lib/libnet.a"])
    for position, data in _flipped(ARCHIVE, 1):
        reason = refusal(archive=data)
        assert "was changed" in reason
        if start <= position < start + len(manifest):
            assert reason.startswith("the manifest was changed"), position
        if library <= position < library + 1024:
            assert reason.startswith("the archive was changed: member lib/libnet.a"), position


def test_every_flipped_byte_of_the_envelope_is_refused() -> None:
    for _, data in _flipped(ENVELOPE, 2):
        refusal(envelope=data)


def test_every_bit_of_the_envelopes_frame_is_refused() -> None:
    payload = json.loads(ENVELOPE)["payload"].encode()
    start = ENVELOPE.index(payload)
    frame = [*range(start + 8), *range(start + len(payload) - 8, len(ENVELOPE))]
    for position in frame:
        for bit in range(8):
            changed = bytearray(ENVELOPE)
            changed[position] ^= 1 << bit
            refusal(envelope=bytes(changed))


def test_the_reader_alone_refuses_every_flipped_byte() -> None:
    """So a module without an envelope is damaged visibly, too."""
    for position, data in _flipped(ARCHIVE, 3):
        try:
            read_archive(data)
        except VerificationError:
            continue
        pytest.fail(f"a changed byte at {position} went unnoticed")


def test_truncated_and_extended_files_are_refused() -> None:
    for size in range(0, len(ARCHIVE), 37):
        assert "was changed" in refusal(archive=ARCHIVE[:size])
    for size in range(0, len(ENVELOPE), 37):
        refusal(envelope=ENVELOPE[:size])
    assert "was changed" in refusal(archive=ARCHIVE + b"\0")
    assert "was changed" in refusal(archive=b"\0" + ARCHIVE)
    assert "malformed" in refusal(envelope=ENVELOPE + b"x")


@pytest.mark.parametrize("envelope", [None, b""])
def test_missing_envelope(envelope: bytes | None) -> None:
    assert "not signed" in refusal(envelope=envelope)


@pytest.mark.parametrize("envelope", [b"{}", b"PK\x03\x04", b"null", b"\x00" * 100])
def test_malformed_envelope(envelope: bytes) -> None:
    assert "envelope is malformed" in refusal(envelope=envelope)


def test_another_key() -> None:
    forged = modules.envelope(ARCHIVE, LocalSigner.generate())
    assert "not by a trusted key" in refusal(envelope=forged)


def test_keyid_swap() -> None:
    forged = json.loads(modules.envelope(ARCHIVE, LocalSigner.generate()))
    forged["signatures"][0]["keyid"] = SIGNER.public_key.fingerprint
    assert "not by a trusted key" in refusal(envelope=json.dumps(forged).encode())


def test_another_payload_type() -> None:
    payload = base64.b64decode(json.loads(ENVELOPE)["payload"])
    signed = dsse.seal("application/json", payload, SIGNER)
    assert "another payload type: 'application/json'" in refusal(envelope=signed)
    edited = json.loads(ENVELOPE) | {"payloadType": "application/json"}
    assert "another payload type" in refusal(envelope=json.dumps(edited).encode())


def _sealed(statement: Statement) -> bytes:
    return dsse.seal(PAYLOAD_TYPE, encode_statement(statement), SIGNER)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "https://in-toto.io/Statement/v0.1"}, "statement's type"),
        ({"predicate_type": "https://spdx.dev/Document"}, "predicate type"),
        ({"subject": ()}, "0 archives"),
    ],
)
def test_another_kind_of_statement_by_the_right_key(
    changes: dict[str, object], reason: str
) -> None:
    statement = statement_of(read_archive(ARCHIVE), modules.asked(), Builder())
    assert reason in refusal(envelope=_sealed(statement.model_copy(update=changes)))


def test_another_builder_with_the_right_key() -> None:
    envelope = sign_module(ARCHIVE, modules.asked(), SIGNER, Builder(id="urn:other"))
    assert "built by 'urn:other'" in refusal(envelope=envelope)
    other = LocalSigner.generate()
    pairs = [*TRUSTED, trusted_key(other.public_key.pem, "urn:other")]
    with pytest.raises(VerificationError, match="built by 'urn:other'"):
        verify_module(ARCHIVE, envelope, pairs)  # trusted, but not with this key
    verify_module(ARCHIVE, envelope, [trusted_key(SIGNER.public_key.pem, "urn:other")])


def test_another_modules_envelope() -> None:
    other = modules.archive(action_digest="c" * 64)
    assert "manifest was changed" in refusal(envelope=modules.envelope(other, SIGNER))


@pytest.mark.parametrize("changes", [{"model": "c" * 64}, {"name": "other"}])
def test_parameters_of_another_model(changes: dict[str, str]) -> None:
    envelope = sign_module(ARCHIVE, modules.asked(**changes), SIGNER, Builder())
    assert "another model, name or target" in refusal(envelope=envelope)


def _repacked(method: int = zipfile.ZIP_DEFLATED, **changes: bytes | None) -> bytes:
    """As somebody with an ordinary tool would change the archive."""
    members: dict[str, bytes | None] = {**stored_zip.read(ARCHIVE), **changes}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, content in members.items():
            if content is not None:
                archive.writestr(path, content)
    return buffer.getvalue()


SWAPPED = encode_manifest(modules.manifest(model_digest="c" * 64))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({MANIFEST_PATH: SWAPPED}, "the manifest was changed: manifest.json is not"),
        ({MANIFEST_PATH: SWAPPED, "src/net.c": b"evil"}, "the manifest was changed"),
        ({MANIFEST_PATH: None}, "the manifest was changed: manifest.json was taken out"),
        ({"src/net.c": b"evil"}, "the archive was changed: member src/net.c differs"),
        ({"src/net.c": None}, "the archive was changed: the archive lacks src/net.c"),
        ({"src/x.c": b""}, "the archive was changed: member src/x.c is not listed"),
        ({}, "the archive was changed: the same files are packed in another way"),
    ],
)
def test_repacked_archives_say_what_differs(
    changes: dict[str, bytes | None], reason: str, method: int
) -> None:
    assert refusal(archive=_repacked(method, **changes)).startswith(reason)


def test_a_swapped_manifest_in_our_own_format() -> None:
    members = {**stored_zip.read(ARCHIVE), MANIFEST_PATH: SWAPPED}
    reason = refusal(archive=stored_zip.write(members))
    assert reason == "the manifest was changed: manifest.json is not the one that was signed"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_second_manifest_behind_the_first() -> None:
    buffer = io.BytesIO(ARCHIVE)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(MANIFEST_PATH, SWAPPED)
    assert "manifest.json twice" in refusal(archive=buffer.getvalue())


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = _repacked(**{"src/net.c": bytes(64 << 20)})
    assert len(bomb) < 1 << 20
    monkeypatch.setattr(diagnosis, "MAX_ARCHIVE_BYTES", 1 << 20)
    tracemalloc.start()
    reason = refusal(archive=bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "member src/net.c differs" in reason
    assert peak < 16 << 20


def test_an_archive_of_too_many_entries_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MAX_MEMBERS", 3)
    assert "larger than any archive of ours" in refusal(archive=_repacked())


@QUIET
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_fuzz_bytes(archive: bytes, envelope: bytes) -> None:
    refusal(archive=archive)
    refusal(envelope=envelope)
    for data in (archive, b"PK\x03\x04" + archive, b"PK\x05\x06" + archive):
        with pytest.raises(VerificationError):
            read_archive(data)


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from("rid"), st.binary(max_size=6)),
    min_size=1,
    max_size=6,
)


def _edited(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """Replace, insert or delete bytes at the relative positions."""
    for where, kind, piece in edits:
        at = int(where * len(data))
        behind = at if kind == "i" else at + len(piece)
        data = data[:at] + (b"" if kind == "d" else piece) + data[behind:]
    return data


@QUIET
@given(EDITS)
def test_fuzz_edited_archive(edits: list[tuple[float, str, bytes]]) -> None:
    data = _edited(ARCHIVE, edits)
    if data == ARCHIVE:
        return
    assert "was changed" in refusal(archive=data)
    with pytest.raises(VerificationError):
        read_archive(data)


@QUIET
@given(EDITS)
def test_fuzz_edited_envelope(edits: list[tuple[float, str, bytes]]) -> None:
    data = _edited(ENVELOPE, edits)
    if data != ENVELOPE and data.strip() != ENVELOPE:
        refusal(envelope=data)


NAMES = st.sampled_from(["payload", "payloadType", "signatures", "sig", "keyid", "x"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([PAYLOAD_TYPE, "e30=", "AA=="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@QUIET
@given(VALUES)
def test_fuzz_envelope_shapes(value: object) -> None:
    refusal(envelope=json.dumps(value).encode())
    whole = {"payload": value, "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": value}]}
    refusal(envelope=json.dumps(whole).encode())
    refusal(envelope=json.dumps(whole | {"payload": "e30=", "signatures": value}).encode())


@QUIET
@given(VALUES)
def test_fuzz_signed_nonsense(value: object) -> None:
    """A trusted signer that signs nonsense is refused in words, too."""
    payload = json.dumps(value).encode()
    refusal(envelope=dsse.seal(PAYLOAD_TYPE, payload, SIGNER))
    statement = json.loads(
        encode_statement(statement_of(read_archive(ARCHIVE), modules.asked(), Builder()))
    )
    for name in ("subject", "predicate"):
        odd = json.dumps(statement | {name: value}).encode()
        refusal(envelope=dsse.seal(PAYLOAD_TYPE, odd, SIGNER))


@QUIET
@given(VALUES)
def test_fuzz_manifest(value: object) -> None:
    members = {**stored_zip.read(ARCHIVE), MANIFEST_PATH: json.dumps(value).encode()}
    with pytest.raises(VerificationError, match="manifest"):
        read_archive(stored_zip.write(members))
