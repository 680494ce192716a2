"""Nothing is reported to anyone: onnxruntime leaves no identifier and no queue of events."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.unit.models.builders import tiny_onnx
from tests.unit.scaffold.project import ROOT, tracked

RUN = """
import sys
from pathlib import Path
from workers.models.ort import ort
ort.InferenceSession(Path(sys.argv[1]).read_bytes())
"""


def test_it_leaves_no_trace(tmp_path: Path) -> None:
    model, home = tmp_path / "model.onnx", tmp_path / "home"
    model.write_bytes(tiny_onnx())
    home.mkdir()
    subprocess.run(
        [sys.executable, "-c", RUN, str(model)],
        cwd=ROOT,
        # No more than this: the variable CI, for one, would keep it quiet too.
        env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)},
        check=True,
    )
    assert not list(home.iterdir())


def test_it_is_imported_in_one_place() -> None:
    direct = re.compile(r"^\s*(import|from) onnxruntime\b", re.MULTILINE)
    found = [path for path in tracked() if path.suffix == ".py" and direct.search(_text(path))]
    assert found == [Path("workers/models/ort.py")]


def _text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
