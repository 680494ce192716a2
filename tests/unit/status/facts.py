"""A farm and a store as the page asks them, without either."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from storage import keys
from storage.memory import MemoryStore
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.manifest import Level, RegionUse, SectionUse
from tinymlaas.contract.messages import (
    CandidateStanding,
    CompileOrder,
    JobChanged,
    JobDetails,
    JobEnd,
    JobEnded,
    JobName,
    JobStanding,
    JobState,
    Payload,
    StatusAsked,
)
from tinymlaas.contract.queue_messages import (
    EndLine,
    FarmView,
    JobLine,
    PoolQueue,
    QueueAsked,
    QueueTold,
    TenantQueue,
)
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    ResultStatus,
)
from tinymlaas.contract.wire import loads
from tinymlaas.status.access import Access, Guard
from tinymlaas.status.asking import Asking
from tinymlaas.status.http import Answer, Request
from tinymlaas.status.records import Records
from tinymlaas.status.site import Site

TOKEN = "correct-horse-battery-staple"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\x1b[31m\u202egpj"
TRACE = "0af7651916cd43dd8448eb211c80319c"
ARCHIVE = b"PK" + bytes(200_000)


class Store(MemoryStore):
    """A store that also gives objects piece by piece."""

    def pieces(self, key: keys.Key) -> tuple[int, Iterator[bytes]]:
        data = self.get(key)
        return len(data), iter([data[at : at + 65536] for at in range(0, len(data), 65536)])


def order(name: str = "kws", **changes: Any) -> CompileOrder:
    model = Payload(digest=sha256(b"m"), reference=f"tenants/acme/blobs/{sha256(b'm')}")
    return CompileOrder(tenant="acme", name=name, model=model, **{"board": "host"} | changes)


def view(jobs: int = 2, ended: int = 1, queued: int = 0) -> FarmView:
    return FarmView(
        scheduler="sched-0",
        tenants=(
            TenantQueue(tenant="acme", jobs={JobState.COMPILING: jobs, JobState.QUEUED: queued}),
        ),
        pools=(
            PoolQueue(pool="tvm", workers=2, busy=1, sent=1, waiting=3, oldest_seconds=130.0),
            PoolQueue(pool="tflm"),
        ),
        jobs=tuple(
            JobLine(
                tenant="acme",
                job_id=f"job-{number}",
                state=JobState.COMPILING,
                name="kws",
                board=EVIL,
                seconds=3.0,
                stage=EVIL,
                percent=40,
                candidates_done=1,
                candidates_total=4,
                waits_for="pool tvm",
            )
            for number in range(jobs)
        ),
        ended=tuple(
            EndLine(
                tenant="acme",
                job_id=f"old-{number}",
                state=JobState.REJECTED,
                name="kws",
                time=NOW,
                seconds=2.0,
                reason=EVIL,
            )
            for number in range(ended)
        ),
    )


def standing(job_id: str = "job-0") -> JobStanding:
    return JobStanding(
        tenant="acme",
        job_id=job_id,
        state=JobState.COMPILING,
        position=3,
        waits_for=("pool tvm, whose worker is busy",),
        estimate_seconds=240.0,
        candidates_done=1,
        candidates_total=3,
        details=JobDetails(
            order=order(),
            seconds=12.0,
            candidates=(
                CandidateStanding(name=EVIL, status=CandidateStatus.REJECTED),
                CandidateStanding(name="tvm flash", running=True),
            ),
            tail=f"step 1\n{EVIL}\n\tstep 2\r",
        ),
    )


def report(compiler: str, **changes: Any) -> CandidateReport:
    facts: dict[str, Any] = {
        "compiler": compiler,
        "kernels": "generated",
        "status": CandidateStatus.VERIFIED,
        "action_digest": "a" * 64,
        "flash_bytes": 12_345,
        "ram_bytes": 678,
        "instructions": 2_500_000,
        "max_rel_error": 0.0,
        "bit_exact": True,
        "level": Level.SIMULATED,
        "size_level": Level.LINKED,
        "machine": "mps2-an386",
    }
    return CandidateReport(**facts | changes)


def record(job_id: str = "done-1", log: str | None = None, **changes: Any) -> JobEnded:
    won = report(
        "tvm",
        module_digest=sha256(ARCHIVE),
        pareto=True,
        won="fewest instructions",
        sections=(SectionUse(section=".text", region="flash", bytes=12_000),),
        regions=(RegionUse.of("flash", 12_345, 524_288),),
    )
    lost = report(
        EVIL, status=CandidateStatus.REJECTED, action_digest=None, reasons=("it is " + EVIL,)
    )
    result = CompileResult(
        status=ResultStatus.DONE,
        module=f"tenants/acme/modules/{sha256(ARCHIVE)}/module.zip",
        action_digest="a" * 64,
        chosen=0,
        candidates=(won, lost),
    )
    facts: dict[str, Any] = {"state": JobState.DONE, "result": result, "board": "host", "log": log}
    end = JobEnd(tenant="acme", job_id=job_id, order=order(), **facts | changes)
    trace = f"00-{TRACE}-b7ad6b7169203331-01"
    return JobEnded(id="e", source="s", time=NOW, traceparent=trace, data=end)


class Farm:
    """The active scheduler and the store, as a `Site` sees them; `silent` answers nothing."""

    def __init__(self, access: Access | None = None) -> None:
        self.view = view()
        self.standings = {"job-0": standing()}
        self.silent = False
        self.questions: list[object] = []
        self.store = Store()
        self.asking = Asking(self._send, "reply.page")
        self.records = Records(self.store)
        self.site = Site(Guard(access or Access(token=TOKEN)), "sched-1", lambda: self.records)
        self.site.asks(self.asking)

    def keep(self, ended: JobEnded) -> None:
        key = keys.job_result(ended.data.tenant, ended.data.job_id)
        assert self.store.put_if_absent(key, ended.encoded())

    def get(self, path: str, method: str = "GET", peer: str = "10.1.2.3", **headers: str) -> Answer:
        """Ask with the token, unless other headers are given."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = path.partition("?")
        asked = named or {"authorization": f"Bearer {TOKEN}"}
        return self.site.answer(Request(method, path, query, asked, peer))

    def page(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status == 200, answer.body
        assert isinstance(answer.body, bytes)
        return answer.body.decode()

    def _send(self, key: str, body: bytes) -> bool:
        kind = loads(body)["type"]
        self.questions.append((key, kind))
        if self.silent:
            return True
        if kind == QueueAsked.TYPE:
            asked = QueueAsked.model_validate_json(body)
            self.asking.hear(QueueTold(id=asked.id, source="s", data=self.view).encoded(), True)
        else:
            name: JobName = StatusAsked.model_validate_json(body).data
            unknown = JobStanding(tenant=name.tenant, job_id=name.job_id, state=None)
            told = self.standings.get(name.job_id, unknown)
            self.asking.hear(JobChanged(id="c", source="s", data=told).encoded(), True)
        return True
