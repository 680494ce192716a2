"""A share of the fuzzing for every run of the tests; `make fuzz` is the whole."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import boxed, engine, inside, seeds_
from tests.fuzz.__main__ import ROOT
from tests.fuzz.bytes_ import BYTES
from tests.fuzz.targets import Target, targets
from tinymlaas.contract.errors import InvalidModel, TinymlaasError
from tinymlaas.contract.wire import parse

NAMES = [target.name for target in targets()]


def test_a_share_of_all_targets_finds_nothing() -> None:
    """Fifteen hundred cases in a process of their own, whose memory is limited."""
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "1500", "--processes", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 found" in done.stdout
    for name in NAMES:
        assert f"\n{name} " in done.stdout


def test_the_shares_are_a_hundred() -> None:
    assert sum(target.share for target in targets()) == 100


@pytest.mark.parametrize("target", [t for t in targets() if t.check], ids=lambda t: t.name)
def test_seeds_are_taken_and_what_was_found_stays_mended(target: Target) -> None:
    """Sound seeds are sound still, else nothing is fuzzed; found ones end with errors of ours."""
    assert target.check is not None
    taken = 0
    for data in target.seeds:
        try:
            target.check(data)
            taken += 1
        except (TinymlaasError, *target.typed):
            continue
    assert taken >= len(target.seeds) - len(seeds_.read(f"found/{target.name}"))


def test_every_kind_of_message_is_a_seed() -> None:
    from tests.fuzz.targets import _KINDS

    seeds = [json.loads(data) for data in seeds_.read("messages")]
    assert {seed["type"] for seed in seeds} == set(_KINDS)
    for data, seed in zip(seeds_.read("messages"), seeds, strict=True):
        assert parse(data, _KINDS[seed["type"]]).type == seed["type"]


def test_checked_in_seeds_are_those_the_script_makes() -> None:
    """Models to the byte; zip files have times in them."""
    for kind in ("onnx", "tflite"):
        for name, data in seeds_.MADE[kind]().items():
            assert (seeds_.FOLDER / kind / name).read_bytes() == data, name


# ------------------------------------------------------------------- what finds must find


def planted(check) -> Target:
    return Target("planted", 1, (b"abcdefgh" * 4,), BYTES, check)


def key_error(data: bytes) -> None:
    if b"\0" in data:
        raise KeyError("planted")


def unsayable(data: bytes) -> None:
    error = InvalidModel("x")
    error.reasons = ("two\nlines",)
    raise error


def endless(data: bytes) -> None:
    if data[0] != ord("a"):
        time.sleep(60)


@pytest.mark.parametrize(
    ("check", "words"),
    [(key_error, "KeyError"), (unsayable, "cannot be shown"), (endless, "took longer than")],
)
def test_a_planted_fault_is_found(check, words, monkeypatch) -> None:
    monkeypatch.setattr(engine, "SECONDS", 0.2)
    tally = engine.run(planted(check), 200, 1)
    ((why, data),) = tally.found
    assert words in why
    with pytest.raises((KeyError, engine.Found)):  # what is kept is what broke it
        engine._refused(planted(check), data)


def test_too_much_memory_is_found() -> None:
    """In a process of its own: the limit is the whole process's."""
    code = (
        "from tests.fuzz import engine, test_fuzz\n"
        "engine.limit_memory()\n"
        "tally = engine.run(test_fuzz.planted(lambda data: bytearray(4 << 30)), 20, 1)\n"
        "print(tally.found[0][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "MemoryError" in done.stdout


def test_a_child_that_dies_is_a_reason_and_takes_no_other_with_it(monkeypatch) -> None:
    """Of three mutants the one that kills the process is told, by the name of what killed it."""
    monkeypatch.setattr(boxed, "FUNCTION", "tests.fuzz.test_fuzz:dies_of_x")
    told = boxed.inspect_all([b"a", b"x", b"b"])
    assert told[::2] == ["", ""]
    assert told[1].startswith(boxed.CRASHED)
    assert "SIGSEGV" in told[1]


def dies_of_x(mutants: list[bytes]) -> list[str]:
    """Run inside."""
    import os
    import signal

    if b"x" in mutants:
        os.kill(os.getpid(), signal.SIGSEGV)
    return [inside.TAKEN for _ in mutants]


def test_an_untyped_exception_inside_is_told_apart() -> None:
    (told,) = inside.inspect_all([b"no model of any kind"])
    assert not told.startswith(inside.UNTYPED)
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.setattr(inside, "_run", key_error)
        assert inside.inspect_all([b"\0"]) == [inside.UNTYPED + "KeyError: 'planted'"]


def test_seeds_are_small() -> None:
    """They are checked in, and a large one is mutated where nothing is."""
    paths = [path for path in Path(seeds_.FOLDER).rglob("*") if path.is_file()]
    assert len(paths) > 30
    assert all(path.stat().st_size < 16 << 10 for path in paths)
