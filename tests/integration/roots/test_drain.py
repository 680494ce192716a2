"""How a farm ends, and that it goes on where it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.integration.roots.running_up import Client, alive, family, farm_up
from tests.services import stub_compiler
from workers import guardian

ARGUMENTS = ("--private", "--pool", "stub", "--tenant", "acme")


@pytest.mark.slow
def test_a_farm_drains_goes_on_and_dies_without_a_trace() -> None:
    with guardian.scratch("test-drain") as folder:
        _drains_goes_on_and_dies(folder)


def _drains_goes_on_and_dies(folder: Path) -> None:
    stub = stub_compiler.install(folder / "stub")
    variables = {"TINYMLAAS_COMPILERS": str(stub.folder), "TINYMLAAS_UNSAFE_NO_SANDBOX": "1"}
    state = folder / "state"
    with farm_up(state, *ARGUMENTS, variables=variables) as up:
        first = up.env
        processes = family(up.process.pid)
        with Client(up.env) as client:
            client.submit("runs", stub.order("acme", "runs", milliseconds="3000"))
            client.await_states({"runs": "compiling"})
            up.until(lambda: "runs" in stub.begun())
            client.submit("waits", stub.order("acme", "waits", milliseconds="3000"))
            client.await_states({"waits": "compiling"})
        assert up.drain() == 0
        assert "draining" in up.said()
        assert [entry.event for entry in stub.journal()] == ["begin", "end"], "its task was ended"
        assert not (state / "env").exists()
        up.until(lambda: not alive(processes))
    with farm_up(state, *ARGUMENTS, variables=variables) as up:
        assert up.env["AWS_SECRET_ACCESS_KEY"] == first["AWS_SECRET_ACCESS_KEY"]
        with Client(up.env) as client:
            up.until(lambda: "waits" in stub.begun())
            client.submit("runs", stub.order("acme", "runs", milliseconds="3000"))
            client.await_states({"runs": "done", "waits": "done"})
            assert sorted(stub.begun()) == ["runs", "waits"], "nothing was compiled twice"
            client.submit("lost", stub.order("acme", "lost", milliseconds="60000"))
            up.until(lambda: "lost" in stub.begun())
        processes = family(up.process.pid)
        assert len(processes) > 6, "guardian, RabbitMQ, S3, scheduler, workers, a compiler"
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
        up.until(lambda: not alive(processes))
