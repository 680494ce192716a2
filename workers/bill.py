"""Which Python distributions take part in a module's build, for its bill of materials."""

from __future__ import annotations

from importlib import metadata

from storage.sbom import bill_of_materials
from tinymlaas.contract.manifest import ModuleManifest
from workers.sources import service_digest

_ALWAYS = ("tinymlaas", "numpy", "pydantic", "pyelftools")
# What reads a model and what says which numbers are right, by the model's format.
_BY_FORMAT = {
    "onnx": ("onnx", "onnxruntime"),
    "tflite": ("tflite", "ai-edge-litert", "tflite-micro"),
}
_BY_COMPILER = {"tflm": ("tflite-micro",), "tvm": ("apache-tvm",)}


def bill_of(manifest: ModuleManifest, model_format: str) -> bytes:
    """Return the bill of materials of a module made here from a model of `model_format`."""
    names = {
        *_ALWAYS,
        *_BY_FORMAT.get(model_format, ()),
        *_BY_COMPILER.get(manifest.compiler.name, ()),
    }
    return bill_of_materials(manifest, service_digest(), installed(names))


def installed(names: set[str]) -> dict[str, str]:
    """Return the versions of those of `names` that are installed here, sorted by name."""
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # then nothing can have used it
            continue
    return found
