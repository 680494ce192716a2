"""The farm at a glance: what there is now, and rate, errors and duration of each stage."""

from __future__ import annotations

from deploy.grafana.panel import Board, Panel, Query, Row, Show, quantiles, rate

_NOW = Row(
    "Now",
    (
        Panel(
            "farm.active",
            "Active schedulers",
            "There must be exactly one; the others stand by.",
            (Query("sum(tinymlaas_scheduler_active)"),),
            show=Show.NUMBER,
            bad=0.5,
            low=True,
            width=4,
        ),
        Panel(
            "farm.unfinished",
            "Unfinished jobs",
            "Queued, being planned or being compiled.",
            (Query("sum(state_class:tinymlaas_jobs:active)"),),
            show=Show.NUMBER,
            warn=10_000,
            bad=40_000,
            width=4,
        ),
        Panel(
            "farm.oldest",
            "Oldest queued job",
            "How long the job has waited that has waited longest for its turn.",
            (Query('max(state_class:tinymlaas_oldest_job_seconds:active{state="queued"})'),),
            unit="s",
            show=Show.NUMBER,
            warn=300,
            bad=1800,
            width=4,
        ),
        Panel(
            "farm.busy",
            "Busy workers",
            "Share of the workers that do a task.",
            (Query("sum(tinymlaas_worker_busy) / count(tinymlaas_worker_busy)"),),
            unit="percentunit",
            show=Show.NUMBER,
            warn=0.9,
            width=4,
        ),
        Panel(
            "farm.cache",
            "Found in the store",
            "Share of the candidates of the last hour that had been built before.",
            (Query("farm:tinymlaas_cache_hits:ratio1h"),),
            unit="percentunit",
            show=Show.NUMBER,
            width=4,
        ),
        Panel(
            "farm.budget",
            "Error budget left",
            "Of 30 days, of the promise that is worse off.",
            (Query("min(slo:tinymlaas_error_budget:remaining30d)"),),
            unit="percentunit",
            show=Show.NUMBER,
            warn=0.5,
            bad=0.1,
            low=True,
            width=4,
            least=None,
        ),
    ),
)
_RED = Row(
    "Rate, errors and duration of each stage",
    (
        Panel(
            "farm.rate",
            "Rate",
            "How many come by a stage each second: requests, turns, plans, tasks of workers, ends.",
            (Query("stage:tinymlaas_stage:rate5m", "{{stage}}"),),
            unit="ops",
        ),
        Panel(
            "farm.errors",
            "Errors",
            "How many fail at a stage each second; a refusal with a reason is no error.",
            (Query("stage:tinymlaas_stage_errors:rate5m", "{{stage}}"),),
            unit="ops",
            warn=0.1,
        ),
        Panel(
            "farm.duration",
            "Duration (95 %)",
            "What 95 of 100 take at most at a stage.",
            (Query("stage:tinymlaas_stage_seconds:p95_5m", "{{stage}}"),),
            unit="s",
        ),
    ),
)
_JOBS = Row(
    "Jobs",
    (
        Panel(
            "farm.jobs",
            "Unfinished jobs by state",
            "As the active scheduler counts them each second.",
            (Query("sum by (state) (state_class:tinymlaas_jobs:active)", "{{state}}"),),
            show=Show.STACK,
        ),
        Panel(
            "farm.ended",
            "Jobs that end, by state",
            "Failed and quarantined ones are the farm's fault, rejected ones their sender's.",
            (rate("tinymlaas_jobs_ended_total", "", "state"),),
            unit="ops",
            show=Show.STACK,
        ),
        Panel(
            "farm.seconds",
            "From request to result",
            "Of jobs that are done.",
            quantiles("tinymlaas_job_seconds", '{state="done"}'),
            unit="s",
        ),
        Panel(
            "farm.hits",
            "Work that was saved",
            "Candidates found in the store, and jobs that joined work under way.",
            (
                rate("tinymlaas_cache_hits_total", "", "found_by", "found by the {{found_by}}"),
                Query("sum(rate(tinymlaas_merges_total[$__rate_interval]))", "merged"),
            ),
            unit="ops",
        ),
        Panel(
            "farm.refused",
            "Requests",
            "Taken as jobs, and refused as they are no request.",
            (
                rate("tinymlaas_jobs_accepted_total", "", "tenant_class", "{{tenant_class}}"),
                Query("sum(rate(tinymlaas_requests_refused_total[$__rate_interval]))", "refused"),
            ),
            unit="ops",
        ),
        Panel(
            "farm.pages",
            "Requests to the status page",
            "By status of HTTP.",
            (rate("tinymlaas_page_requests_total", "", "code"),),
            unit="reqps",
        ),
    ),
)
_POOLS = Row(
    "Pools",
    (
        Panel(
            "farm.tasks",
            "Tasks waiting",
            "In the scheduler, for a worker of their pool.",
            (Query('pool_state:tinymlaas_pool_tasks:active{state="waiting"}', "{{pool}}"),),
            show=Show.STACK,
        ),
        Panel(
            "farm.workers",
            "Workers alive",
            "As their heartbeats say.",
            (Query("sum by (pool) (pool_state:tinymlaas_pool_workers:active)", "{{pool}}"),),
        ),
        Panel(
            "farm.ratio",
            "Time busy",
            "Share of their time that workers spend on tasks.",
            (Query("pool:tinymlaas_worker_busy:ratio5m", "{{pool}}"),),
            unit="percentunit",
            warn=0.9,
        ),
    ),
)
_PROCESSES = Row(
    "Processes",
    (
        Panel(
            "farm.builds",
            "What runs",
            "Processes by version; during an update there are two of each.",
            (Query("count by (process, version, service) (tinymlaas_build_info)"),),
            show=Show.TABLE,
        ),
        Panel(
            "farm.memory",
            "Memory",
            "Of the processes themselves, without the jobs in their sandboxes.",
            (
                Query(
                    "process_resident_memory_bytes and on (job, instance) tinymlaas_build_info",
                    "{{instance}}",
                ),
            ),
            unit="bytes",
        ),
        Panel(
            "farm.cpu",
            "Processor",
            "Seconds of processor time each second.",
            (
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval])"
                    " and on (job, instance) tinymlaas_build_info",
                    "{{instance}}",
                ),
            ),
            unit="percentunit",
        ),
    ),
)
BOARD = Board(
    "tinymlaas-farm",
    "tinymlaas: the farm",
    "What the farm does now, and how each stage of a job fares.",
    (_NOW, _RED, _JOBS, _POOLS, _PROCESSES),
)
