import pytest

from tinymlaas.cli_options import (
    parse_bytes,
    parse_objective,
    parse_options,
    parse_race,
    parse_seconds,
    parse_shapes,
)
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.report import Objective


def test_the_last_equals_sign_divides() -> None:
    assert parse_shapes(["x=1,49,10,1", "a=b=2", "c= 3 , 4"]) == {
        "x": (1, 49, 10, 1),
        "a=b": (2,),
        "c": (3, 4),
    }


@pytest.mark.parametrize(
    "text", ["", "x", "x=", "=1", "x=a", "x=1,", "x=-1", "x=1.5", "x=١", "x=²"]
)
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(UsageError, match="write NAME=D,D,… as in"):
        parse_shapes([text])


def test_zero_twice_and_absurdly_long() -> None:
    with pytest.raises(UsageError, match="must be positive"):
        parse_shapes(["x=1,0"])
    with pytest.raises(UsageError, match="x is given twice"):
        parse_shapes(["x=1", "x=2"])
    with pytest.raises(UsageError) as caught:
        parse_shapes(["x=" + "9" * 5000])
    assert len(str(caught.value)) < 200


def test_compiler_options():
    assert parse_options(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    assert parse_options([]) == {}


@pytest.mark.parametrize("text", ["", "x", "x=", "=on"])
def test_bad_compiler_option(text):
    with pytest.raises(UsageError, match=r"write NAME=VALUE as in dead-channels=off"):
        parse_options([text])


def test_compiler_option_given_twice():
    with pytest.raises(UsageError, match="in-place is given twice"):
        parse_options(["in-place=on", "in-place=off"])


def test_objectives_and_weights() -> None:
    latency, flash, ram = Objective
    assert parse_objective("ram") == (ram, {})
    assert parse_objective("latency=2,ram=1") == (latency, {latency: 2.0, ram: 1.0})
    assert parse_objective("flash=0.5, latency=1") == (latency, {flash: 0.5, latency: 1.0})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "speed",
        "latency=",
        "latency=x",
        "latency=0",
        "ram=-1",
        "ram=nan",
        "ram=inf",
        "ram=1001",
        "ram=1,ram=2",
        "ram=1,,flash=2",
        "ram=1,",
    ],
)
def test_malformed_objectives(text: str) -> None:
    with pytest.raises(UsageError, match="--objective"):
        parse_objective(text)


@pytest.mark.parametrize("error", [float("inf"), float("nan")])
def test_a_limit_on_the_error_is_a_number(error: float) -> None:
    with pytest.raises(UsageError, match=r"--max-error .*: write a share of the range"):
        parse_race("latency", None, None, None, error)


def test_sizes() -> None:
    sizes = {"0": 0, "65536": 65536, "64k": 65536, "64 KiB": 65536, "1.5M": 1572864, "12B": 12}
    assert {text: parse_bytes("--max-ram", text) for text in sizes} == sizes
    assert parse_bytes("--max-ram", None) is None


def test_limits_beyond_all_boards() -> None:
    with pytest.raises(UsageError, match=r"--max-flash 999999999999M: no board has more than"):
        parse_race("latency", "999999999999M", None, None, None)
    with pytest.raises(UsageError, match="--max-instructions: nothing takes more than"):
        parse_race("latency", None, None, 10**22, None)


@pytest.mark.parametrize("text", ["", "k", "-1", "1g", "1e3", "٣k", "1.k", "0x10"])
def test_malformed_sizes(text: str) -> None:
    with pytest.raises(UsageError, match=r"--max-ram .*: write bytes"):
        parse_bytes("--max-ram", text)


def test_times() -> None:
    times = {"30": 30.0, "30s": 30.0, "1.5m": 90.0, "2 h": 7200.0}
    assert {text: parse_seconds("--budget", text) for text in times} == times
    assert parse_seconds("--budget", None) is None


@pytest.mark.parametrize("text", ["", "0s", "-1s", "fast", "30 years", "1e3", "٣s"])
def test_malformed_times(text: str) -> None:
    with pytest.raises(UsageError, match=r"--budget .*: write a time as in 30s"):
        parse_seconds("--budget", text)
