from __future__ import annotations

import base64
import json

import pytest

from storage.archive import read_archive
from storage.provenance import (
    Builder,
    Metadata,
    Statement,
    archive_name,
    decode_statement,
    encode_statement,
    envelope_name,
    statement_of,
)
from storage.signing import LocalSigner
from tests.unit.storage import modules
from tinymlaas.contract.errors import VerificationError

ARCHIVE = read_archive(modules.archive())
STATEMENT = statement_of(ARCHIVE, modules.asked(), Builder())


def _wire() -> dict[str, object]:
    value = json.loads(encode_statement(STATEMENT))
    assert isinstance(value, dict)
    return value


def test_the_wire_has_the_names_of_in_toto_and_slsa() -> None:
    value = json.loads(encode_statement(STATEMENT))
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://slsa.dev/provenance/v1"
    assert value["subject"] == [
        {"name": "net.zip", "digest": {"sha256": ARCHIVE.digest}},
        {"name": "manifest.json", "digest": {"sha256": ARCHIVE.manifest_digest}},
    ]
    definition = value["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["model"] == "b" * 64
    assert definition["externalParameters"]["compiler"] == "auto"
    assert definition["externalParameters"]["shapes"] == {"x": [2, 3]}
    assert definition["externalParameters"]["target"]["core"] == "cortex-m4"
    assert definition["internalParameters"]["actionDigest"] == "a" * 64
    assert definition["internalParameters"]["compiler"]["version"] == "0.27.0.post1"
    assert [d["name"] for d in definition["resolvedDependencies"]] == [
        "model",
        "compiler",
        "toolchain",
    ]
    for dependency in definition["resolvedDependencies"]:
        assert dependency.keys() & {"uri", "digest", "content"}  # in-toto asks for one of them
    assert value["predicate"]["runDetails"] == {"builder": {"id": "urn:tinymlaas:builder:local:v1"}}


def test_a_kernel_library_is_a_dependency() -> None:
    compiler = modules.manifest().compiler.model_copy(update={"kernels": "cmsis-nn 7.0.0"})
    archive = read_archive(modules.archive(compiler=compiler))
    found = statement_of(archive, modules.asked(), Builder()).predicate.build_definition
    assert found.resolved_dependencies[-1].uri == "pkg:generic/cmsis-nn%207.0.0"


def test_round_trip() -> None:
    assert decode_statement(encode_statement(STATEMENT)) == STATEMENT


def test_times_stand_in_it_only_when_given() -> None:
    metadata = Metadata(invocation_id="1", started_on="2026-01-01T00:00:00Z")
    timed = statement_of(ARCHIVE, modules.asked(), Builder(), metadata)
    assert decode_statement(encode_statement(timed)) == timed
    details = json.loads(encode_statement(timed))["predicate"]["runDetails"]
    assert details["metadata"] == {"invocationId": "1", "startedOn": "2026-01-01T00:00:00Z"}
    assert b"metadata" not in encode_statement(STATEMENT)


def test_same_module_same_key_same_envelope() -> None:
    signer = LocalSigner.generate()
    first = modules.envelope(modules.archive(), signer)
    assert modules.envelope(modules.archive(), signer) == first
    payload = base64.b64decode(json.loads(first)["payload"])
    assert decode_statement(payload).archive_digest == ARCHIVE.digest


def test_file_names() -> None:
    assert archive_name(modules.manifest()) == "net.zip"
    assert envelope_name("net.zip") == "net.zip.intoto.jsonl"


@pytest.mark.parametrize(
    ("path", "new", "reason"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1", "statement's type"),
        ("_type", None, "statement's type"),
        ("predicateType", "https://slsa.dev/provenance/v0.2", "predicate type"),
        ("predicate", {}, "predicate.buildDefinition"),
        ("predicate.buildDefinition.buildType", "urn:other", "build type is urn:other"),
        ("predicate.buildDefinition.externalParameters.more", 1, "externalParameters.more"),
        ("predicate.buildDefinition.externalParameters.model", "b" * 63, "model"),
        ("predicate.runDetails.builder", None, "builder"),
        ("subject", "net.zip", "subject"),
        ("subject", [{"name": "net.zip", "digest": {"sha512": "0"}}], "sha256"),
    ],
)
def test_statements_of_another_kind_are_refused(path: str, new: object, reason: str) -> None:
    value = json.loads(encode_statement(STATEMENT))
    target = value
    *way, last = path.split(".")
    for step in way:
        target = target[step]
    target[last] = new
    with pytest.raises(VerificationError, match=reason):
        decode_statement(json.dumps(value).encode())


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_payloads_that_are_no_statement_are_refused(payload: bytes) -> None:
    with pytest.raises(VerificationError, match="signed statement"):
        decode_statement(payload)


def test_fields_unknown_to_us_are_ignored_outside_the_external_parameters() -> None:
    value = _wire() | {"extension": {}}
    assert decode_statement(json.dumps(value).encode()) == STATEMENT


@pytest.mark.parametrize(("keep", "fault"), [([], "0 archives"), ([0, 0], "2 archives")])
def test_exactly_one_archive_must_be_named(keep: list[int], fault: str) -> None:
    subjects = tuple(STATEMENT.subject[i] for i in keep)
    odd: Statement = STATEMENT.model_copy(update={"subject": subjects})
    with pytest.raises(VerificationError, match=fault):
        _ = odd.archive_digest
    with pytest.raises(VerificationError, match="0 manifests"):
        _ = odd.manifest_digest
