"""docs/boards.md: its example works, its keys and cores are all there are, its table is fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tinymlaas.boards.check import check_file
from tinymlaas.contract.device import Core, DeviceProfile, MemoryRegion

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")


def test_the_example_is_a_sound_profile(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "my-board.toml"
    path.write_text(example)
    assert check_file(path) == []


def test_every_key_and_every_core_is_explained() -> None:
    keys = PAGE[PAGE.index("| key |") : PAGE.index("Regions must not")]
    for name in [*DeviceProfile.model_fields, *MemoryRegion.model_fields, *Core]:
        assert f"`{name}`" in keys or f"`[[{name}]]`" in keys, name


def test_the_table_is_fresh() -> None:
    script = ROOT / "scripts" / "boards_table.py"
    command = [sys.executable, str(script), "--check"]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == 0
