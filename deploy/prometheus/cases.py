"""What each alert fires at, and what it keeps silent at, as input of `promtool test rules`.

Values are written as promtool has it: ``0+2x30`` begins at 0 and adds 2 thirty times, one value
each `MINUTES` of the case's pace. An alert that is silent looks at what just does not make it fire.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.prometheus import recording
from deploy.prometheus.alerts import ALERTS, Links, groups

Series = Mapping[str, str]
_AT = 'job="tinymlaas-scheduler", instance="a:9100"'
_ACTIVE = f"tinymlaas_scheduler_active{{{_AT}}}"


@dataclass(frozen=True)
class Case:
    """After `steps` of `series`, `alert` fires once for each of `fires` (its labels)."""

    alert: str
    series: Series
    steps: int
    fires: Sequence[Mapping[str, str]] = ()
    pace: str = "minutes"


def _scheduler(metric: str, labels: str, values: str) -> dict[str, str]:
    """Return a gauge of the active scheduler."""
    return {_ACTIVE: "1x400", f"{metric}{{{_AT}, {labels}}}": values}


def _pool(tasks: str, workers: str, state: str = "waiting") -> dict[str, str]:
    return _scheduler("tinymlaas_pool_tasks", f'pool="tvm", state="{state}"', tasks) | _scheduler(
        "tinymlaas_pool_workers", 'pool="tvm", state="idle"', workers
    )


def _compiled(failed: str, verified: str) -> dict[str, str]:
    name = 'tinymlaas_compile_seconds_count{compiler="tvm", outcome="%s"}'
    return {name % "failed": failed, name % "verified": verified}


def _jobs(bad: str, good: str) -> dict[str, str]:
    name = 'tinymlaas_jobs_ended_total{tenant_class="gold", state="%s"}'
    return {name % "failed": bad, name % "done": good, name % "cancelled": "0+9x130"}


def _waits(slow: str, all_: str) -> dict[str, str]:
    """Return a histogram by what grows beyond the promise's bound, and altogether."""
    name = 'tinymlaas_job_wait_seconds_%s{tenant_class="gold"%s}'
    return {name % ("count", ""): all_, name % ("bucket", ', le="60.0"'): slow}


def _store(errors: str, count: str) -> dict[str, str]:
    return {
        'tinymlaas_store_errors_total{operation="get", error="unavailable"}': errors,
        'tinymlaas_store_seconds_count{operation="get"}': count,
    }


MINUTES = {"minutes": 1, "hours": 30}  # of a step: what looks back for days goes in larger ones
_TVM = {"pool": "tvm"}
_COUNTERS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    # alert, series of a counter that fires it when it grows by one, labels of the alert
    ("TinymlaasQuarantine", 'tinymlaas_quarantines_total{pool="tvm"}', _TVM),
    ("TinymlaasSigningFails", 'tinymlaas_signatures_total{pool="tvm", outcome="failed"}', _TVM),
    (
        "TinymlaasUnroutable",
        'tinymlaas_broker_publishes_total{to="task", outcome="returned"}',
        {"to": "task"},
    ),
    (
        "TinymlaasDeadLetters",
        'tinymlaas_broker_publishes_total{to="dead_letter", outcome="taken"}',
        {},
    ),
)
_STOPS = 'tinymlaas_sandbox_stops_total{pool="tvm", step="compile", reason="%s"}'
_REFUSED = 'tinymlaas_broker_publishes_total{to="outcome", outcome="%s"}'
_BROKER = 'tinymlaas_broker_connected{instance="a:9100", link="%s"}'
_OPENED = 'tinymlaas_broker_connections_total{instance="a:9100", link="publisher"}'
_LOOP = 'tinymlaas_loop_age_seconds{instance="a:9100"}'
_SLOW = 'tinymlaas_store_seconds_bucket{operation="put", le="%s"}'
_OTHER = 'tinymlaas_scheduler_active{job="tinymlaas-scheduler", instance="b:9100"}'
_FORMER = {
    series.replace('"a:', '"b:'): values
    for series, values in (_pool("5x20", "0x20") | {_ACTIVE: "0x20"}).items()
}

CASES: tuple[Case, ...] = (
    Case("TinymlaasNoActiveScheduler", {}, 5, [{}]),
    Case("TinymlaasNoActiveScheduler", {_ACTIVE: "0x5", _OTHER: "1x5"}, 5),
    Case("TinymlaasTwoActiveSchedulers", {_ACTIVE: "1x5", _OTHER: "1x5"}, 5, [{}]),
    Case("TinymlaasTwoActiveSchedulers", {_ACTIVE: "1x5", _OTHER: "0x3 1 0x9"}, 5),
    Case("TinymlaasLoopStuck", {_LOOP: "0+60x5"}, 5, [{"instance": "a:9100"}]),
    Case("TinymlaasLoopStuck", {_LOOP: "29x5"}, 5),
    Case("TinymlaasPoolWithoutWorkers", _pool("1x20", "0x20", "running"), 20, [_TVM]),
    Case("TinymlaasPoolWithoutWorkers", _pool("1x20", "0x9 1x11"), 20),
    # A pool scaled to none; whoever scheduled before still shows what it saw last.
    Case("TinymlaasPoolWithoutWorkers", _pool("0x20", "0x20") | _FORMER, 20),
    Case(
        "TinymlaasQueueGrows",
        _pool("100+5x60", "2x60"),
        40,
        [{"pool": "tvm", "state": "waiting"}],
    ),
    Case("TinymlaasQueueGrows", _pool("900-5x60", "2x60"), 40),
    Case(
        "TinymlaasOldestJobWaits",
        _scheduler(
            "tinymlaas_oldest_job_seconds", 'state="queued", tenant_class="gold"', "0+120x30"
        ),
        25,
        [{"tenant_class": "gold"}],
    ),
    Case(
        "TinymlaasOldestJobWaits",
        _scheduler(
            "tinymlaas_oldest_job_seconds", 'state="planning", tenant_class="gold"', "0+120x30"
        ),
        25,
        [{"tenant_class": "gold"}],
    ),
    Case(
        "TinymlaasOldestJobWaits",
        _scheduler(
            "tinymlaas_oldest_job_seconds", 'state="compiling", tenant_class="gold"', "0+120x30"
        ),
        25,
    ),
    Case(
        "TinymlaasOldestTaskWaits",
        _pool("1x30", "1x30")
        | _scheduler("tinymlaas_oldest_task_seconds", 'pool="tvm"', "0+120x30"),
        25,
        [_TVM],
    ),
    Case(
        "TinymlaasOldestTaskWaits",
        _pool("1x30", "0x30")
        | _scheduler("tinymlaas_oldest_task_seconds", 'pool="tvm"', "0+120x30"),
        25,
    ),
    *(Case(alert, {series: "0x9 1x9"}, 12, [labels]) for alert, series, labels in _COUNTERS),
    *(Case(alert, {series: "7x20"}, 12) for alert, series, _ in _COUNTERS),
    Case("TinymlaasCompilerFails", _compiled("0+1x30", "0+4x30"), 25, [{"compiler": "tvm"}]),
    Case("TinymlaasCompilerFails", _compiled("0+1x30", "0+20x30"), 25),
    Case("TinymlaasCompilerFails", _compiled("0x5 1x30", "0x30"), 25),
    Case(
        "TinymlaasCacheCollapse",
        {'tinymlaas_cache_hits_total{found_by="scheduler"}': "0+60x30 1800x9"}
        | _compiled("0x50", "0+60x50"),
        35,
        [{}],
        "hours",
    ),
    Case(
        "TinymlaasCacheCollapse",
        {'tinymlaas_cache_hits_total{found_by="scheduler"}': "0+60x30 1800+36x9"}
        | _compiled("0x50", "0+60x50"),
        35,
        pace="hours",
    ),
    Case("TinymlaasTasksRetried", {'tinymlaas_retries_total{pool="tvm"}': "0+1x40"}, 35, [_TVM]),
    Case("TinymlaasTasksRetried", {'tinymlaas_retries_total{pool="tvm"}': "0+0.5x40"}, 35),
    Case(
        "TinymlaasSandboxStops",
        {_STOPS % "memory": "0+1x10", _STOPS % "crash": "0+1x10"},
        10,
        [{"pool": "tvm", "step": "compile", "reason": "memory"}],
    ),
    Case("TinymlaasSandboxStops", {_STOPS % "memory": "0+1x4 4x30"}, 20),
    Case("TinymlaasPublishesRefused", {_REFUSED % "refused": "0+1x20"}, 15, [{"to": "outcome"}]),
    Case("TinymlaasPublishesRefused", {_REFUSED % "taken": "0+1x20"}, 15),
    Case(
        "TinymlaasBrokerAway",
        {_BROKER % "kills": "1 0x20"},
        10,
        [{"instance": "a:9100", "link": "kills"}],
    ),
    Case("TinymlaasBrokerAway", {_BROKER % "kills": "0x4 1x20", _BROKER % "requests": "0x20"}, 10),
    Case(
        "TinymlaasBrokerFlaps",
        {_OPENED: "1+1x20"},
        15,
        [{"instance": "a:9100", "link": "publisher"}],
    ),
    Case("TinymlaasBrokerFlaps", {_OPENED: "1x9 2x9"}, 15),
    Case("TinymlaasBrokerFlaps", {_OPENED.replace("publisher", "control"): "1+9x20"}, 15),
    Case("TinymlaasStoreFails", _store("0+1x20", "0+10x20"), 20, [{"operation": "get"}]),
    Case("TinymlaasStoreFails", _store("0+1x20", "0+30x20"), 20),
    Case("TinymlaasStoreFails", _store("0x5 1x15", "0+1x20"), 13),
    Case(
        "TinymlaasStoreSlow",
        {_SLOW % "2.5": "0+9x30", _SLOW % "5.0": "0+10x30", _SLOW % "+Inf": "0+10x30"},
        22,
        [{"operation": "put"}],
    ),
    Case("TinymlaasStoreSlow", {_SLOW % "2.5": "0+10x30", _SLOW % "+Inf": "0+10x30"}, 22),
    Case("TinymlaasJobsBudgetBurnsFast", _jobs("0+1x20", "0+4x20"), 12, [{"slo": "jobs"}]),
    Case("TinymlaasJobsBudgetBurnsFast", _jobs("0+1x20 20x50", "0+4x70"), 52),
    Case("TinymlaasJobsBudgetBurnsFast", _jobs("0x5 1+0.1x20", "0x30"), 12),
    Case(
        "TinymlaasJobsBudgetBurnsSlowly", _jobs("0+1x99", "0+20x99"), 60, [{"slo": "jobs"}], "hours"
    ),
    Case("TinymlaasJobsBudgetBurnsSlowly", _jobs("0+1x99", "0+200x99"), 60, pace="hours"),
    Case("TinymlaasWaitBudgetBurnsFast", _waits("0+1x20", "0+5x20"), 12, [{"slo": "wait"}]),
    Case("TinymlaasWaitBudgetBurnsFast", _waits("0+4x20", "0+5x20"), 12),
    Case(
        "TinymlaasWaitBudgetBurnsSlowly", _waits("0+4x99", "0+5x99"), 60, [{"slo": "wait"}], "hours"
    ),
    Case("TinymlaasWaitBudgetBurnsSlowly", _waits("0+24x99", "0+25x99"), 60, pace="hours"),
)


def tests(links: Links, pace: str) -> dict[str, Any]:
    """Return the cases of a pace as a file of `promtool test rules`."""
    known = {each.name: each for each in ALERTS}

    def expected(case: Case, labels: Mapping[str, str]) -> dict[str, Any]:
        alert = known[case.alert]
        said = {
            key: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
            for key, text in alert.annotations(links).items()
        }
        return {
            "exp_labels": {"severity": alert.severity, **labels},
            "exp_annotations": said,
        }

    def test(case: Case) -> dict[str, Any]:
        series = [{"series": name, "values": values} for name, values in case.series.items()]
        how = "fires" if case.fires else "is silent"
        return {
            "name": f"{case.alert} {how}",
            "interval": f"{MINUTES[pace]}m",
            "input_series": series,
            "alert_rule_test": [
                {
                    "eval_time": f"{case.steps * MINUTES[pace]}m",
                    "alertname": case.alert,
                    "exp_alerts": [expected(case, labels) for labels in case.fires],
                }
            ],
        }

    return {
        "rule_files": ["../rules/recording.yaml", "../rules/alerts.yaml"],
        "evaluation_interval": f"{MINUTES[pace]}m",
        "group_eval_order": [each.name for each in (*recording.GROUPS, *groups(links))],
        "tests": [test(case) for case in CASES if case.pace == pace],
    }
