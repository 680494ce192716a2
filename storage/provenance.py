"""What is signed about a module: an in-toto Statement v1 with SLSA provenance v1.

Sources: in-toto Attestation Framework, spec v1.0 (Statement, ResourceDescriptor); SLSA v1.0,
"Provenance". Field names on the wire are theirs (lowerCamelCase). There is no time in a statement
unless it is given: the same module from the same inputs gives the same statement.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from storage import dsse, strict_json
from storage.archive import MANIFEST_PATH, Archive, read_archive, shown
from storage.sbom import GENERATED, SBOM_PATH, SBOM_TYPE
from storage.signing import Signer
from tinymlaas.contract.base import Model
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.digest import canonical_json, sha256
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.manifest import CompilerUsed, ModuleManifest

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tinymlaas:build:compile:v1"
LOCAL_BUILDER = "urn:tinymlaas:builder:local:v1"
_BUILDER = re.compile(r"urn:tinymlaas:builder:([a-z][a-z0-9-]{0,31}):v1")

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Wire(BaseModel):
    """In-toto asks consumers to ignore fields they do not know, so these do."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )


class DigestSet(_Wire):
    """Digests of one thing; we use SHA-256 only."""

    sha256: _Sha256


class Subject(_Wire):
    """A file the statement is about. The digest identifies it; the name is for people."""

    name: str
    digest: DigestSet


class ResourceDescriptor(_Wire):
    """Something the build used."""

    name: str
    uri: str | None = None
    digest: DigestSet | None = None
    media_type: str | None = None
    annotations: dict[str, str] | None = None


class ExternalParameters(Model):
    """All that the user decided. SLSA wants unknown ones refused, and `Model` does.

    `model` is the model's SHA-256, `compiler` what was asked for (``auto`` or a name); `shapes`
    and `options` are what the user fixed.
    """

    model: _Sha256
    name: str
    target: CapabilityClass
    compiler: str
    shapes: dict[str, tuple[int, ...]] = {}
    options: dict[str, str] = {}


class InternalParameters(_Wire):
    """What the service decided. `sandbox` is what the compiler ran in: ``bubblewrap``, or ``none``
    where a user asked for that; None where it is not said.
    """

    action_digest: str
    compiler: CompilerUsed
    sandbox: str | None = None


class BuildDefinition(_Wire):
    """SLSA's buildDefinition of build type `BUILD_TYPE`."""

    build_type: str = BUILD_TYPE
    external_parameters: ExternalParameters
    internal_parameters: InternalParameters
    resolved_dependencies: tuple[ResourceDescriptor, ...]


class Builder(_Wire):
    """Who built: `id` is what a verifier trusts together with a key."""

    id: str = LOCAL_BUILDER
    version: dict[str, str] | None = None


class Metadata(_Wire):
    """One particular run. RFC 3339 times; giving any makes the statement differ every time."""

    invocation_id: str | None = None
    started_on: str | None = None
    finished_on: str | None = None


class RunDetails(_Wire):
    """SLSA's runDetails."""

    builder: Builder
    metadata: Metadata | None = None


class Provenance(_Wire):
    """SLSA's predicate."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(_Wire):
    """The whole statement: two subjects, the archive and the manifest within it.

    The manifest is named besides the archive so that a verifier can tell a changed manifest from
    any other change.
    """

    type: str = Field(default=STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...]
    predicate_type: str = PREDICATE_TYPE
    predicate: Provenance

    @property
    def archive_digest(self) -> str:
        """SHA-256 of the archive. Raises VerificationError unless exactly one is named."""
        return self._digest(manifest=False)

    @property
    def manifest_digest(self) -> str:
        """SHA-256 of manifest.json. Raises VerificationError unless exactly one is named."""
        return self._digest(manifest=True)

    def _digest(self, *, manifest: bool) -> str:
        found = [s.digest.sha256 for s in self.subject if (s.name == MANIFEST_PATH) is manifest]
        if len(found) != 1:
            what = "manifest" if manifest else "archive"
            raise VerificationError(f"the signed statement names {len(found)} {what}s, not one")
        return found[0]


def pool_builder(name: str) -> str:
    """Return the builder id of the pool `name`."""
    return f"urn:tinymlaas:builder:{name}:v1"


def builder_name(builder: str) -> str | None:
    """Return the name in a builder id of ours, ``local`` or a pool's; None of any other id."""
    found = _BUILDER.fullmatch(builder)
    return found.group(1) if found else None


def archive_name(manifest: ModuleManifest) -> str:
    """Return the file name an archive goes by, and that its statement gives."""
    return f"{manifest.name}.zip"


def envelope_name(archive_file: str) -> str:
    """Return the name of the envelope's file beside an archive's."""
    return f"{archive_file}.intoto.jsonl"


def statement_of(
    archive: Archive,
    asked: ExternalParameters,
    builder: Builder,
    metadata: Metadata | None = None,
    *,
    sandbox: str | None = None,
) -> Statement:
    """Return what is to be signed about `archive`; `sandbox` see `InternalParameters`."""
    manifest = archive.manifest
    subjects = (
        Subject(name=archive_name(manifest), digest=DigestSet(sha256=archive.digest)),
        Subject(name=MANIFEST_PATH, digest=DigestSet(sha256=archive.manifest_digest)),
    )
    definition = BuildDefinition(
        external_parameters=asked,
        internal_parameters=InternalParameters(
            action_digest=manifest.action_digest, compiler=manifest.compiler, sandbox=sandbox
        ),
        resolved_dependencies=_dependencies(archive),
    )
    details = RunDetails(builder=builder, metadata=metadata)
    return Statement(
        subject=subjects, predicate=Provenance(build_definition=definition, run_details=details)
    )


def sign_module(
    archive: bytes,
    asked: ExternalParameters,
    signer: Signer,
    builder: Builder,
    metadata: Metadata | None = None,
    *,
    sandbox: str | None = None,
) -> bytes:
    """Return the DSSE envelope of the archive's provenance, one line of JSON.

    Raises:
        VerificationError: `archive` is no module archive.
        Failure: the signer cannot sign.
    """
    statement = statement_of(read_archive(archive), asked, builder, metadata, sandbox=sandbox)
    return dsse.seal(PAYLOAD_TYPE, encode_statement(statement), signer)


def encode_statement(statement: Statement) -> bytes:
    """Return the statement's canonical JSON."""
    return canonical_json(statement.model_dump(by_alias=True, exclude_none=True))


def decode_statement(payload: bytes) -> Statement:
    """Return the statement in a *verified* payload.

    Raises:
        VerificationError: it is no statement of our kind; the reason says which part is not.
    """
    what = "the signed statement"
    value = strict_json.loads(payload, what)
    if not isinstance(value, dict):
        raise VerificationError(f"{what} is malformed: it is no JSON object")
    _expect(value.get("_type"), STATEMENT_TYPE, "the signed statement's type")
    _expect(value.get("predicateType"), PREDICATE_TYPE, "the signed statement's predicate type")
    try:
        statement = Statement.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = shown(".".join(str(part) for part in first["loc"]))
        raise VerificationError(f"{what} is malformed: {where}: {first['msg']}") from None
    _expect(statement.predicate.build_definition.build_type, BUILD_TYPE, "the build type")
    return statement


def _expect(found: object, wanted: str, what: str) -> None:
    if found != wanted:
        raise VerificationError(f"{what} is {shown(str(found))}, not {wanted}")


def _dependencies(archive: Archive) -> tuple[ResourceDescriptor, ...]:
    """Return model, compiler, toolchain, kernel library and bill of materials.

    Tools are named by generic package URLs; the bill, which names the rest, by its digest.
    """
    manifest = archive.manifest
    compiler = manifest.compiler
    tool = f"pkg:generic/{quote(compiler.name, safe='')}@{quote(compiler.version, safe='')}"
    found = [
        ResourceDescriptor(name="model", digest=DigestSet(sha256=manifest.model_digest)),
        ResourceDescriptor(name="compiler", uri=tool, annotations={"build": compiler.build}),
    ]
    named = {"toolchain": compiler.toolchain, "kernels": compiler.kernels}
    for name, text in named.items():
        if text and text != GENERATED:
            uri = f"pkg:generic/{quote(text, safe='')}"
            found.append(ResourceDescriptor(name=name, uri=uri, annotations={"version": text}))
    bill = archive.members.get(SBOM_PATH)
    if bill is not None:
        digest = DigestSet(sha256=sha256(bill))
        found.append(ResourceDescriptor(name=SBOM_PATH, digest=digest, media_type=SBOM_TYPE))
    return tuple(found)
