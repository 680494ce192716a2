"""The bill of materials of a module's own build: CycloneDX 1.6 (ECMA-424) as JSON.

It is a member of the archive, so its bytes are under the module's signature, and the provenance
names it with its digest. There is no time and no serial number in it: the same build from the same
parts gives the same bytes on any machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tinymlaas.contract.manifest import CompilerUsed, ModuleManifest

SBOM_PATH = "sbom.cdx.json"
SBOM_TYPE = "application/vnd.cyclonedx+json"
GENERATED = "generated"  # the compiler's own kernels: no part of their own
_NAMED = re.compile(r"(\S+)(?: \(.*?\))? (\S.*)")  # gcc (Debian 12.2.0-14) 12.2.0
_SEPARATORS = re.compile(r"[-_.]+")

_Part = dict[str, Any]


def bill_of_materials(
    manifest: ModuleManifest, service: str, distributions: Mapping[str, str]
) -> bytes:
    """Return the bill of the module in `manifest`: UTF-8, sorted keys, one newline at the end.

    `service` is the digest of our own sources, `distributions` maps the Python distributions that
    took part to their versions.
    """
    parts = [_model(manifest), _compiler(manifest.compiler), _service(service)]
    parts += _texts(manifest.compiler)
    parts += [_distribution(name, version) for name, version in distributions.items()]
    parts.sort(key=lambda part: str(part["bom-ref"]))
    module = _module(manifest)
    refs = [part["bom-ref"] for part in parts]
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"lifecycles": [{"phase": "build"}], "component": module},
        "components": parts,
        "dependencies": [
            {"ref": module["bom-ref"], "dependsOn": refs},
            *({"ref": ref} for ref in refs),
        ],
    }
    text = json.dumps(bill, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _module(manifest: ModuleManifest) -> _Part:
    """Return what was built; its version is its action, for the same action is the same module."""
    options = {f"option:{name}": value for name, value in manifest.compiler.options.items()}
    facts = {
        "action": manifest.action_digest,
        "core": manifest.target.core.value,
        "cflags": " ".join(manifest.compiler.cflags),
        **options,
    }
    return {
        "type": "library",
        "bom-ref": "module",
        "name": manifest.name,
        "version": manifest.action_digest[:16],
        "properties": _properties(facts),
    }


def _model(manifest: ModuleManifest) -> _Part:
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": "model",
        "hashes": [{"alg": "SHA-256", "content": manifest.model_digest}],
    }


def _compiler(compiler: CompilerUsed) -> _Part:
    return {
        "type": "application",
        "bom-ref": f"compiler:{compiler.name}",
        "name": compiler.name,
        "version": compiler.version,
        "purl": _purl("generic", compiler.name, compiler.version),
        "properties": _properties({"build": compiler.build}),
    }


def _service(digest: str) -> _Part:
    return {
        "type": "application",
        "bom-ref": "service",
        "name": "tinymlaas-sources",
        "version": digest[:16],
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def _texts(compiler: CompilerUsed) -> list[_Part]:
    """Return toolchain and kernel library, which a manifest names by one text each."""
    found = []
    for role, kind, text in (
        ("toolchain", "application", compiler.toolchain),
        ("kernels", "library", compiler.kernels),
    ):
        if not text or text == GENERATED:
            continue
        facts = _properties({"text": text})
        part: _Part = {"type": kind, "bom-ref": role, "name": text, "properties": facts}
        if named := _NAMED.fullmatch(text):
            name, version = named.groups()
            part |= {"name": name, "version": version, "purl": _purl("generic", name, version)}
        found.append(part)
    return found


def _distribution(name: str, version: str) -> _Part:
    normal = _SEPARATORS.sub("-", name).lower()  # as PEP 503 and the purl type "pypi" ask
    return {
        "type": "library",
        "bom-ref": f"pypi:{normal}",
        "name": normal,
        "version": version,
        "purl": _purl("pypi", normal, version),
    }


def _purl(kind: str, name: str, version: str) -> str:
    return f"pkg:{kind}/{quote(name, safe='')}@{quote(version, safe='')}"


def _properties(facts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": f"tinymlaas:{name}", "value": facts[name]} for name in sorted(facts)]
