from pathlib import Path

import pytest

from tinymlaas.contract.errors import Failure, UsageError
from tinymlaas.delivery import check_directory, deliver


def test_checking_makes_nothing(tmp_path: Path) -> None:
    check_directory(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file is no folder"):
        check_directory(tmp_path / name)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        check_directory(Path("out\udcff"))


def test_both_files_replace_the_old_ones_and_nothing_else_is_there(tmp_path: Path) -> None:
    module = tmp_path / "new" / "m.zip"
    for turn in (b"1", b"2"):
        deliver(b"archive" + turn, b"envelope" + turn, module)
    found = {path.name: path.read_bytes() for path in module.parent.iterdir()}
    assert found == {"m.zip": b"archive2", "m.zip.intoto.jsonl": b"envelope2"}


def test_what_cannot_be_written_leaves_no_pair_that_does_not_belong_together(
    tmp_path: Path,
) -> None:
    module = tmp_path / "m.zip"
    module.mkdir()  # cannot be replaced by a file
    with pytest.raises(Failure, match=r"cannot write .*m\.zip"):
        deliver(b"archive", b"envelope", module)
    assert [path.name for path in tmp_path.iterdir()] == ["m.zip"]
