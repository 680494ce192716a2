"""Recording rules: what dashboards and alerts ask again and again.

What a scheduler shows of now (its gauges) counts only while it is the active one: one that stands
by may still show what it saw last.
"""

from __future__ import annotations

from deploy.prometheus import slo
from deploy.prometheus.rule import Group, Recording

_ACTIVE = "and on (job, instance) tinymlaas_scheduler_active == 1"


def _now(metric: str, *labels: str) -> Recording:
    level = "_".join(each.removeprefix("tenant_") for each in labels)
    return Recording(
        f"{level}:{metric}:active", f"max by ({', '.join(labels)}) ({metric} {_ACTIVE})"
    )


def _quantile(histogram: str, *labels: str, of: str = "") -> str:
    by = ", ".join((*labels, "le"))
    return f"histogram_quantile(0.95, sum by ({by}) (rate({histogram}_bucket{of}[5m])))"


NOW = (
    _now("tinymlaas_jobs", "state", "tenant_class"),
    _now("tinymlaas_oldest_job_seconds", "state", "tenant_class"),
    _now("tinymlaas_pool_tasks", "pool", "state"),
    _now("tinymlaas_pool_workers", "pool", "state"),
    _now("tinymlaas_oldest_task_seconds", "pool"),
)

# Of each stage of a job: how many come by, how many end badly, how long they take.
_STAGES = {
    "request": (
        "sum(rate(tinymlaas_jobs_accepted_total[5m]))"
        " + sum(rate(tinymlaas_requests_refused_total[5m]))",
        "sum(rate(tinymlaas_requests_refused_total[5m]))",
        None,
    ),
    "wait": (
        "sum(rate(tinymlaas_job_wait_seconds_count[5m]))",
        None,
        _quantile("tinymlaas_job_wait_seconds"),
    ),
    "plan": (
        'sum(rate(tinymlaas_job_stage_seconds_count{stage="planning"}[5m]))',
        None,
        _quantile("tinymlaas_job_stage_seconds", of='{stage="planning"}'),
    ),
    "prepare": (
        "sum(rate(tinymlaas_prepare_seconds_count[5m]))",
        'sum(rate(tinymlaas_prepare_seconds_count{outcome="failed"}[5m]))',
        _quantile("tinymlaas_prepare_seconds"),
    ),
    "compile": (
        "sum(rate(tinymlaas_compile_seconds_count[5m]))",
        'sum(rate(tinymlaas_compile_seconds_count{outcome="failed"}[5m]))',
        _quantile("tinymlaas_compile_seconds"),
    ),
    "judge": (
        "sum(rate(tinymlaas_judge_seconds_count[5m]))",
        'sum(rate(tinymlaas_judge_seconds_count{outcome="failed"}[5m]))',
        _quantile("tinymlaas_judge_seconds"),
    ),
    "publish": (
        'sum(rate(tinymlaas_job_stage_seconds_count{stage="publishing"}[5m]))',
        'sum(rate(tinymlaas_broker_publishes_total{to="result", outcome="refused"}[5m]))',
        _quantile("tinymlaas_job_stage_seconds", of='{stage="publishing"}'),
    ),
}


def _stages() -> list[Recording]:
    found = []
    for stage, (rate, errors, seconds) in _STAGES.items():
        labels = {"stage": stage}
        found.append(Recording("stage:tinymlaas_stage:rate5m", rate, labels))
        if errors is not None:
            found.append(Recording("stage:tinymlaas_stage_errors:rate5m", errors, labels))
        if seconds is not None:
            found.append(Recording("stage:tinymlaas_stage_seconds:p95_5m", seconds, labels))
    return found


def _hits(window: str) -> str:
    hits = f"sum(increase(tinymlaas_cache_hits_total[{window}]))"
    return f"{hits}\n/\n({hits} + sum(increase(tinymlaas_compile_seconds_count[{window}])))"


WORK = (
    Recording(
        "pool:tinymlaas_worker_busy:ratio5m",
        "avg by (pool) (rate(tinymlaas_worker_busy_seconds_total[5m]))",
    ),
    Recording(
        "compiler_outcome:tinymlaas_compile:rate5m",
        "sum by (compiler, outcome) (rate(tinymlaas_compile_seconds_count[5m]))",
    ),
    Recording(
        "compiler:tinymlaas_compile_errors:ratio1h",
        'sum by (compiler) (increase(tinymlaas_compile_seconds_count{outcome="failed"}[1h]))\n/\n'
        "sum by (compiler) (increase(tinymlaas_compile_seconds_count[1h]))",
    ),
    Recording("farm:tinymlaas_cache_hits:ratio1h", _hits("1h")),
    Recording("farm:tinymlaas_cache_hits:ratio1d", _hits("1d")),
    Recording(
        "operation:tinymlaas_store_errors:ratio10m",
        "sum by (operation) (increase(tinymlaas_store_errors_total[10m]))\n/\n"
        "sum by (operation) (increase(tinymlaas_store_seconds_count[10m]))",
    ),
    Recording(
        "operation:tinymlaas_store_seconds:p95_5m",
        _quantile("tinymlaas_store_seconds", "operation"),
    ),
)


def _slos() -> list[Recording]:
    found = []
    for each in slo.SLOS:
        labels = {"slo": each.name}
        found.append(
            Recording("slo:tinymlaas_objective:ratio", f"vector({each.objective})", labels)
        )
        for window in slo.WINDOWS:
            name = f"slo:tinymlaas_errors:ratio_rate{window}"
            found.append(Recording(name, each.ratio(window), labels))
        spent = f'slo:tinymlaas_errors:ratio_rate{slo.PERIOD}{{slo="{each.name}"}}'
        remaining = f"1 - {spent} / {each.budget}"
        found.append(
            Recording(f"slo:tinymlaas_error_budget:remaining{slo.PERIOD}", remaining, labels)
        )
    return found


GROUPS = tuple(
    Group(f"tinymlaas-{name}", [each.data() for each in rules])
    for name, rules in (("now", NOW), ("stages", _stages()), ("work", WORK), ("slo", _slos()))
)
