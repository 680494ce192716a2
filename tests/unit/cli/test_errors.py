import errno

import pytest
import typer

from tinymlaas.cli_errors import explain
from tinymlaas.contract.errors import StoreError, TinymlaasError, UsageError
from tinymlaas.contract.report import ResultStatus


@pytest.mark.parametrize(
    ("error", "kind", "status", "exit_status", "reason"),
    [
        (UsageError("no\nsuch thing"), "error", ResultStatus.REJECTED, 2, "no such thing"),
        (StoreError("full"), "error", ResultStatus.FAILED, 1, "full"),
        (typer.BadParameter("no"), "error", ResultStatus.REJECTED, 2, "Invalid value: no"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            "error",
            ResultStatus.FAILED,
            1,
            "/x: No space left on device",
        ),
        (
            KeyError("x"),
            "internal error",
            ResultStatus.FAILED,
            1,
            "KeyError: 'x' (ours; TINYMLAAS_DEBUG=1 shows where)",
        ),
    ],
)
def test_whose_fault_an_error_is(
    error: Exception, kind: str, status: ResultStatus, exit_status: int, reason: str
) -> None:
    found = explain(error)
    assert (found.kind, found.report.status, found.exit_status) == (kind, status, exit_status)
    assert found.report.reasons == (reason,)


def test_names_from_outside_cannot_reach_the_terminal_or_break_json() -> None:
    error = TinymlaasError("no file a\x1b[2Jb\udce9.onnx", "two\n  lines")
    assert error.reasons == ("no file a\\x1b[2Jb\\udce9.onnx", "two lines")


def test_a_reason_is_not_as_long_as_what_it_quotes() -> None:
    (reason,) = TinymlaasError(f"no operator {'x' * 9_000_000}").reasons
    assert len(reason) == 2000
    assert reason.startswith("no operator xxx")
    assert reason.endswith("x…")
