"""What chaos must leave behind: one end of every job, nothing else."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.connecting import connect
from broker.topology import Names, topology
from storage import keys
from storage.port import AgedStore
from tests.services.stub_compiler import Entry
from tinymlaas.contract.messages import JobEnded, JobState
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, parse

_WHOLE_SECOND = 1.0  # the precision of the times that S3 tells
Name = tuple[str, str]  # tenant and job id


@dataclass
class Outcome:
    """What was seen; `problems` are lines, none if all is as it must be."""

    seed: int
    accepted: int = 0
    seconds: float = 0.0
    killed: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    compiles: int = 0
    broken_off: int = 0
    problems: list[str] = field(default_factory=list)


def check_ends(outcome: Outcome, accepted: set[Name], bodies: Sequence[bytes]) -> None:
    """Every accepted job has ended well, once: of several events all are the same."""
    events: dict[Name, list[JobEnded]] = {}
    for body in bodies:
        event = parse(body, JobEnded, MAX_TRUSTED_BYTES)
        events.setdefault((event.data.tenant, event.data.job_id), []).append(event)
    for name in sorted(accepted - set(events)):
        outcome.problems.append(f"job {name} has no end")
    for name in sorted(set(events) - accepted):
        outcome.problems.append(f"job {name} was never accepted")
    for name, several in sorted(events.items()):
        outcome.repeated += len(several) - 1
        end = several[0].data
        outcome.states[end.state] += 1
        if any(each != several[0] for each in several):
            outcome.problems.append(f"job {name} has ends that differ")
        if end.state is not JobState.DONE:
            outcome.problems.append(f"job {name} ended {end.state}: {'; '.join(end.reasons)}")


def check_records(outcome: Outcome, bodies: Sequence[bytes], store: AgedStore) -> None:
    """What was published is what is kept."""
    for body in {*bodies}:
        data = parse(body, JobEnded, MAX_TRUSTED_BYTES).data
        if store.get(keys.job_result(data.tenant, data.job_id)) != body:
            outcome.problems.append(f"job {data.job_id}: its record is not what was published")


def check_compiles(
    outcome: Outcome, journal: Sequence[Entry], bodies: Sequence[bytes], store: AgedStore
) -> None:
    """Nothing was compiled after its outcome was stored."""
    outcome.compiles = sum(entry.event == "begin" for entry in journal)
    outcome.broken_off = outcome.compiles - sum(entry.event == "end" for entry in journal)
    stored: dict[str, float] = {}
    for body in bodies:
        result = parse(body, JobEnded, MAX_TRUSTED_BYTES).data.result
        for report in result.candidates if result else ():
            if report.action_digest and report.compiler == "stub":
                at = store.written(keys.action_outcome(report.compiler, report.action_digest))
                name = _module_of(body)
                if at is None:
                    outcome.problems.append(f"the outcome of {name} is not stored")
                else:
                    stored[name] = at.timestamp()
    for entry in journal:
        late = entry.time - stored.get(entry.name, entry.time) - _WHOLE_SECOND
        if entry.event == "begin" and late > 0:
            outcome.problems.append(f"{entry.name} was compiled {late:.1f} s after it was stored")


def _module_of(body: bytes) -> str:
    """Return the module's name, which jobs of chaos have in their id before the dash."""
    return parse(body, JobEnded, MAX_TRUSTED_BYTES).data.job_id.partition("-")[0]


def check_queues(outcome: Outcome, url: str, names: Names, pools: Sequence[str]) -> None:
    """No message is left: all consumers have gone, so what they had is counted too."""
    with contextlib.closing(connect(url, "chaos")) as connection:
        channel = connection.channel()
        for queue in topology(pools, names).queues:
            count = channel.queue_declare(queue.name, passive=True).method.message_count
            if count:
                outcome.problems.append(f"{count} messages are left in {queue.name}")


def check_processes(outcome: Outcome, marks: Sequence[str]) -> None:
    """No process of the farm runs: none has one of `marks` in environment, command or folder."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        seen = _seen(Path("/proc", pid))
        if int(pid) != os.getpid() and any(mark in seen for mark in marks):
            command = seen.partition("\n")[0][:200]
            outcome.problems.append(f"process {pid} is left: {command}")


def _seen(process: Path) -> str:
    found = []
    for name in ("cmdline", "environ"):
        with contextlib.suppress(OSError):
            found.append((process / name).read_bytes().replace(b"\0", b" ").decode("latin-1"))
    with contextlib.suppress(OSError):
        found.append(os.readlink(process / "cwd"))
    return "\n".join(found)


def check_folder(outcome: Outcome, folder: Path) -> None:
    """Nothing is left where the farm has its temporary files."""
    left = sorted(path.name for path in folder.iterdir())
    if left:
        outcome.problems.append(f"{len(left)} temporary files are left: {', '.join(left[:5])}")


def told(killed: Mapping[str, int]) -> str:
    """Return what was done, for a person."""
    return ", ".join(f"{what} {count}x" for what, count in sorted(killed.items()))
