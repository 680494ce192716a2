"""The import rules hold, and a violation of any of them is seen."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.scaffold.project import ROOT, copy, packages, tracked

LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"

VIOLATIONS = [
    ("layers", "tinymlaas/contract/planted.py", "import workers.compilers"),
    ("layers", "storage/planted.py", "import broker"),
    ("layers", "storage/planted.py", "import workers.compilers"),
    ("layers", "tinymlaas/boards/planted.py", "import storage"),
    ("layers", "scheduler/planted.py", "import workers"),
    ("layers", "workers/planted.py", "import scheduler"),
    ("layers", "workers/planted.py", "import tinymlaas.cli"),
    ("scheduler", "scheduler/planted.py", "import onnx"),
    ("scheduler", "scheduler/planted.py", "def late():\n    import pika\n"),
    ("contract", "tinymlaas/contract/planted.py", "from pathlib import Path"),
    ("contract", "tinymlaas/contract/planted.py", "import subprocess"),
]


def rules() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    sources = [path for path in tracked(*packages()) if path.suffix == ".py"]
    return copy([*sources, Path(".importlinter")], tmp_path)


def test_the_rules_hold(project: Path) -> None:
    result = lint(project)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("contract", "file", "statement"), VIOLATIONS)
def test_a_planted_violation_is_seen(
    project: Path, contract: str, file: str, statement: str
) -> None:
    (project / file).write_text(statement)
    result = lint(project)
    assert result.returncode != 0
    assert f"{rules()[f'importlinter:contract:{contract}']['name']} BROKEN" in result.stdout
    assert Path(file).with_suffix("").as_posix().replace("/", ".") in result.stdout


def test_compilers_may_not_import_one_another(project: Path) -> None:
    other = project / "workers" / "compilers" / "other"
    other.mkdir()
    (other / "__init__.py").write_text("import workers.compilers.tvm\n")
    settings = project / ".importlinter"
    listed = "    workers.compilers.tvm\n"
    settings.write_text(
        settings.read_text().replace(listed, listed + "    workers.compilers.other\n")
    )
    result = lint(project)
    assert result.returncode != 0
    assert "No compiler imports another BROKEN" in result.stdout


def test_every_compiler_is_under_the_rule() -> None:
    listed = rules()["importlinter:contract:compilers"]["modules"].split()
    folder = ROOT / "workers" / "compilers"
    found = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert sorted(listed) == sorted(f"workers.compilers.{name}" for name in found)


def test_every_module_of_tinymlaas_has_a_layer() -> None:
    layers = rules()["importlinter:contract:layers"]["layers"]
    placed = set(layers.replace("(", " ").replace(")", " ").replace("|", " ").split())
    top = {path.parts[1] for path in tracked("tinymlaas")}
    modules = {f"tinymlaas.{name.removesuffix('.py')}" for name in top - {"__init__.py"}}
    assert modules <= placed, "give them a layer in .importlinter"
