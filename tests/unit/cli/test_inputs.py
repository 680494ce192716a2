import os
from pathlib import Path

import pytest

from tinymlaas.contract.errors import UsageError
from tinymlaas.inputs import parse_duration, parse_moment, read_input


def test_files_and_pipes_up_to_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    assert read_input(file, "model", 4) == b"1234"
    reader, writer = os.pipe()
    os.write(writer, b"12")
    os.close(writer)
    assert read_input(Path(f"/dev/fd/{reader}"), "model", 4) == b"12"
    os.close(reader)


def test_more_than_the_limit_is_refused_without_being_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the model /dev/zero is larger than 1,000 bytes"):
        read_input(Path("/dev/zero"), "model", 1000)


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        read_input(tmp_path / "none", "model", 4)
    with pytest.raises(UsageError, match=r"cannot read the model .*: Is a directory"):
        read_input(tmp_path, "model", 4)


@pytest.mark.parametrize("text", ["999999w", "36501d"])
def test_a_duration_that_leads_to_no_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"more than 36,500 days"):
        parse_duration(text, "--older-than")
    with pytest.raises(UsageError, match=r"more than 36,500 days"):
        parse_moment(text, "--deadline")


def test_a_moment_that_is_no_date_elsewhere_is_refused() -> None:
    with pytest.raises(UsageError, match=r"after the year 9998"):
        parse_moment("9999-12-31T23:59:59-14:00", "--deadline")
