"""Hostile jobs on a farm with real servers: each ends with a true reason, and the next is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.farm.desk import Desk
from tests.security.hostile import NEEDLE, install, planted
from tests.services.farm import farm
from tests.services.stub_compiler import FAST, model
from tinymlaas.contract.messages import CompileOrder, JobState, Payload

HOSTILE = {
    "environment": (JobState.FAILED, "contained"),
    "memory_of_others": (JobState.FAILED, "contained"),
    "command_lines": (JobState.FAILED, "contained"),
    "tcp": (JobState.FAILED, "contained"),
    "daemon": (JobState.FAILED, "contained"),
    "kill_init": (JobState.FAILED, "contained"),
    "kill_all": (JobState.FAILED, "was killed by SIGKILL"),
    "signal_every_process": (JobState.FAILED, "was killed by SIGTERM"),
    "fork_bomb": (JobState.FAILED, "processes and was stopped"),
    "output_is_a_symlink": (JobState.FAILED, "is a symbolic link"),
    "claims_another_action": (JobState.FAILED, "Extra inputs are not permitted"),
    "forged_refusal": (JobState.REJECTED, "your key has expired"),
}


def order(does: str, name: str) -> CompileOrder:
    return CompileOrder(
        tenant="acme",
        name=name,
        model=Payload.of(model(4), "acme", "relu.onnx"),
        board=FAST,
        compiler="hostile",
        options={"does": does},
    )


@pytest.mark.slow
def test_jobs_of_a_farm(tmp_path: Path) -> None:
    with planted(tmp_path / "planted") as plan:
        folder = install(tmp_path / "hostile", plan)
        variables = {"TINYMLAAS_UNSAFE_NO_SANDBOX": "0", "SECRET": NEEDLE}
        with farm(tmp_path / "farm", ["hostile"], compilers=[folder], **variables) as running:
            (worker,) = running.workers["hostile"]
            pid = worker.pid
            desk = Desk(running)
            try:
                for does, (state, words) in HOSTILE.items():
                    end = desk.end(desk.submit(order(does, does)))
                    reason = "; ".join(end.reasons)
                    assert (end.state, words in reason) == (state, True), reason
                    assert "ESCAPED" not in reason
                    assert NEEDLE not in end.model_dump_json()
                    after = desk.end(desk.submit(order("work", f"after_{does}")))
                    assert after.state is JobState.DONE, after.reasons
                    assert plan.harm() == []
            finally:
                desk.close()
            assert worker.pid == pid
            assert worker.running
