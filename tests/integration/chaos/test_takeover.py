"""Of two schedulers one is killed: the other goes on."""

from __future__ import annotations

import pytest

from tests.integration.chaos.takeover import TAKEOVER_SECONDS, kill_active_scheduler
from tests.services.farm import farm
from tests.services.stub_compiler import install
from tinymlaas.contract.messages import JobState
from workers import guardian


# Each day tests/integration/roots has a second scheduler take over; this one counts the seconds.
@pytest.mark.slow
def test_the_other_scheduler_takes_over_and_jobs_in_flight_finish() -> None:
    with guardian.scratch("takeover") as folder:
        stub = install(folder / "stub")
        with farm(
            folder / "farm", ["stub"], compilers=[stub.folder], workers=2, schedulers=2
        ) as running:
            found = kill_active_scheduler(running, stub)
    print(f"\nactive after {found.active:.1f} s, jobs end again after {found.first_end:.1f} s")
    assert set(found.states) == {JobState.DONE}
    assert found.active < TAKEOVER_SECONDS
    assert len(found.compiled) == len({*found.compiled}), "compiled twice"
