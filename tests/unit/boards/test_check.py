"""`boards check`: each mistake is found at its line, and all of a file at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tinymlaas.boards.check import Mistake, check_file
from tinymlaas.contract.errors import UnknownBoard

GOOD = """\
name = "board"
title = "A board"
vendor = "Someone"
mcu = "MCU1"
datasheet = "https://example.org/sheet.pdf"

core = "cortex-m4"
fpu = "single"
dsp = true
float_abi = "hard"
clock_hz = 120_000_000
simulator = "mps2-an386"

peripherals = [
    "gpio",
    "adc",
]

[[memory]]
name = "flash"
kind = "flash"
origin = 0x0800_0000
length = "1 MiB"

[[memory]]
name = "ram"
kind = "ram"
origin = 0x2000_0000
length = 0x2_0000
"""
# Where what stands in GOOD.
LINE = {text: number for number, text in enumerate(GOOD.splitlines(), 1) if text}
RAM = max(number for number, text in enumerate(GOOD.splitlines(), 1) if text == "[[memory]]")


def check(folder: Path, text: str) -> list[Mistake]:
    path = folder / "board.toml"
    path.write_text(text, encoding="utf-8")
    return check_file(path)


def test_the_good_one_has_no_mistake(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == []


def line(text: str) -> int:
    return LINE[text]


# What of GOOD becomes what; where; the key; what the message says.
PLANTED = [
    ("fpu =", "fpux =", line('fpu = "single"'), "fpux", 'did you mean "fpu"'),
    ("dsp =", "zzz =", line("dsp = true"), "zzz", "known keys: name"),
    ('title = "A board"\n', "", 1, "title", "required key is missing"),
    ("clock_hz = 120_000_000\n", "", 1, "clock_hz", "required key is missing"),
    ('core = "cortex-m4"\n', "", 1, "core", "required key is missing"),
    ('"MCU1"', "7", line('mcu = "MCU1"'), "mcu", "valid string"),
    ("dsp = true", 'dsp = "yes"', line("dsp = true"), "dsp", "valid boolean"),
    ("dsp = true", "dsp = 2024-01-01", line("dsp = true"), "dsp", "valid boolean"),
    ("120_000_000", "0", line("clock_hz = 120_000_000"), "clock_hz", "greater than 0"),
    ("120_000_000", "1.5", line("clock_hz = 120_000_000"), "clock_hz", "valid integer"),
    ("120_000_000", "true", line("clock_hz = 120_000_000"), "clock_hz", "valid integer"),
    ('"cortex-m4"', '"cortex-m5"', line('core = "cortex-m4"'), "core", "'cortex-m55'"),
    ('"single"', '"simple"', line('fpu = "single"'), "fpu", "'none', 'single' or 'double'"),
    ('"single"', '"double"', line('fpu = "single"'), "fpu", 'must be "none" or "single"'),
    ("dsp = true", "dsp = false", line("dsp = true"), "dsp", "always has the DSP"),
    ("dsp = true", 'dsp = true\nmve = "integer"', 10, "mve", "does not have MVE"),
    ('"single"', '"none"', line('float_abi = "hard"'), "float_abi", "needs an FPU"),
    ("dsp = true", 'dsp = true\ncpu = "m4"', 10, "cpu", "only avr and msp430"),
    ("mps2-an386", "mps2-an38", line('simulator = "mps2-an386"'), "simulator", "did you mean"),
    ("mps2-an386", "mps2-an500", line('simulator = "mps2-an386"'), "simulator", "mps2-an386"),
    ("https:", "http:", line('datasheet = "https://example.org/sheet.pdf"'), "datasheet", "https"),
    ('name = "board"', 'name = "Board_1"', 1, "name", "lower-case"),
    ('    "adc",', "    7,", line("peripherals = ["), "peripherals[1]", "valid string"),
    ('"1 MiB"', '"1 MB"', line('length = "1 MiB"'), "memory[0].length", "640 KiB"),
    ('"1 MiB"', '"0.3 B"', line('length = "1 MiB"'), "memory[0].length", "whole number"),
    ('"1 MiB"', "-1", line('length = "1 MiB"'), "memory[0].length", "greater than 0"),
    ('"1 MiB"', '"0 B"', line('length = "1 MiB"'), "memory[0].length", "greater than 0"),
    ('"1 MiB"', '"4 GiB"', line('length = "1 MiB"'), "memory[0].length", "beyond"),
    ("0x2000_0000", '"x"', line("origin = 0x2000_0000"), "memory[1].origin", "valid integer"),
    ("origin = 0x2000_0000\n", "", RAM, "memory[1].origin", "missing"),
    ("origin = 0x2000_0000", "start = 1", RAM, "memory[1].origin", "missing"),
    ('kind = "ram"', 'kind = "rom"', line('kind = "ram"'), "memory[1].kind", "'flash' or 'ram'"),
    ('name = "ram"', 'name = "RAM"', line('name = "ram"'), "memory[1].name", "lower-case"),
    ('name = "ram"', 'name = "flash"', line('name = "ram"'), "memory[1].name", "two regions"),
    ("0x2000_0000", "0x080f_ffff", line("origin = 0x2000_0000"), "memory[1].origin", "overlaps"),
    ('kind = "ram"', 'kind = "flash"', line("[[memory]]") - 6, "memory", 'kind "ram"'),
]


@pytest.mark.parametrize(("old", "new", "where", "key", "says"), PLANTED)
def test_a_planted_mistake_is_found_at_its_line(
    tmp_path: Path, old: str, new: str, where: int, key: str, says: str
) -> None:
    assert GOOD.count(old) == 1, "the plant must hit one place"
    mistakes = check(tmp_path, GOOD.replace(old, new))
    found = [mistake for mistake in mistakes if mistake.key == key]
    assert len(found) == 1, mistakes
    assert found[0].line == where
    assert says in found[0].message
    assert not found[0].warning


CORES = [
    ("cortex-m0plus", "dsp = true", "dsp", "does not have the DSP"),
    ("cortex-m3", 'fpu = "single"', "fpu", 'must be "none"'),
    ("cortex-m33", 'fpu = "double"', "fpu", 'must be "none" or "single"'),
    ("cortex-m55", 'dsp = true\nmve = "float"', "mve", "needs an FPU"),
    ("cortex-m55", 'dsp = true\nfpu = "single"', "fpu", 'must be "none" or "double"'),
    ("rv32imac", 'float_abi = "hard"', "float_abi", "soft ABI only"),
    ("avr", "dsp = false", "cpu", "-mmcu"),
    ("msp430", "dsp = false", "cpu", "-mmcu"),
    ("avr", 'cpu = "atmega2560"', "memory[1].length", "beyond the 0x10000"),
    ("msp430", 'cpu = "msp430fr5994"', "memory[0].length", "beyond the 0x100000"),
]


@pytest.mark.parametrize(("core", "features", "key", "says"), CORES)
def test_features_must_be_the_core_s(
    tmp_path: Path, core: str, features: str, key: str, says: str
) -> None:
    text = re.sub(r"core = [^§]*clock_hz", f'core = "{core}"\n{features}\nclock_hz', GOOD)
    text = text.replace('simulator = "mps2-an386"\n', "")
    found = [mistake for mistake in check(tmp_path, text) if mistake.key == key]
    assert len(found) == 1
    assert says in found[0].message


def test_avr_has_two_address_spaces(tmp_path: Path) -> None:
    text = re.sub(r"core = [^§]*clock_hz", 'core = "avr"\ncpu = "atmega328p"\nclock_hz', GOOD)
    text = text.replace('simulator = "mps2-an386"\n', "")
    text = text.replace("0x0800_0000", "0").replace("0x2000_0000", "0x100")
    assert check(tmp_path, text.replace("0x2_0000", "2048").replace("1 MiB", "32 KiB")) == []


def test_all_mistakes_of_a_file_come_at_once_in_order(tmp_path: Path) -> None:
    text = GOOD
    plants = {
        "https:": "ftp:",
        '"single"': '"double"',
        "120_000_000": "0",
        "mps2-an386": "mps9",
        '"1 MiB"': '"1 megabyte"',
        'name = "ram"': 'nam = "ram"',
    }
    for old, new in plants.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    mistakes = check(tmp_path, text)
    assert [mistake.key for mistake in mistakes] == [
        "datasheet",
        "fpu",
        "clock_hz",
        "simulator",
        "memory[0].length",
        "memory[1].name",
        "memory[1].nam",
    ]
    assert [mistake.line for mistake in mistakes] == sorted(mistake.line for mistake in mistakes)
    assert str(mistakes[0]).startswith("5: datasheet: must be an https:// address")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (GOOD.replace("dsp = true", "dsp = tru"), LINE["dsp = true"]),
        (GOOD + 'name = "unclosed\n', len(GOOD.splitlines()) + 1),
        (GOOD + "broken = [1,\n2", len(GOOD.splitlines()) + 2),
        (GOOD.replace("dsp = true", 'fpu = "none"'), LINE["dsp = true"]),
    ],
)
def test_broken_toml_is_one_mistake_where_the_parser_stopped(
    tmp_path: Path, text: str, where: int
) -> None:
    (mistake,) = check(tmp_path, text)
    assert mistake.line == where
    assert "is not valid TOML" in mistake.message
    assert "line" not in mistake.message


def test_other_shapes_are_refused_in_words(tmp_path: Path) -> None:
    for text in ("", "memory = 3", "memory = [3]", "[memory]\nname = 1", "core = []"):
        assert check(tmp_path, text), text
    path = tmp_path / "board.toml"
    path.write_bytes(GOOD.encode() + b"# \xff")
    (mistake,) = check_file(path)
    assert (mistake.line, mistake.message) == (len(GOOD.splitlines()) + 1, "is not UTF-8 text")


def test_a_name_other_than_the_file_s_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(GOOD)
    (mistake,) = check_file(path)
    assert mistake.warning
    assert mistake.line == 1
    assert str(mistake).startswith("1: warning: name: ")


def test_a_missing_file_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UnknownBoard, match="No such file"):
        check_file(tmp_path / "none.toml")
