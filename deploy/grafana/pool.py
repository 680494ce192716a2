"""One pool of workers, which for most is one compiler."""

from __future__ import annotations

from deploy.grafana.panel import Board, Panel, Query, Row, Show, Variable, quantiles, rate

_OF = '{pool="$pool"}'
_OF_COMPILER = '{compiler="$pool"}'
_WORK = Row(
    "Work and workers",
    (
        Panel(
            "pool.workers",
            "Workers",
            "Alive, as their heartbeats say. None at all while there is work is an alert.",
            (Query(f"pool_state:tinymlaas_pool_workers:active{_OF}", "{{state}}"),),
            show=Show.STACK,
        ),
        Panel(
            "pool.tasks",
            "Tasks",
            "Waiting in the scheduler, and sent. It sends as many as there are workers.",
            (Query(f"pool_state:tinymlaas_pool_tasks:active{_OF}", "{{state}}"),),
            show=Show.STACK,
            warn=100,
        ),
        Panel(
            "pool.oldest",
            "Oldest task not begun",
            "How long the task has been wanted that no worker has begun.",
            (Query(f"pool:tinymlaas_oldest_task_seconds:active{_OF}", "oldest"),),
            unit="s",
            warn=300,
            bad=1800,
        ),
        Panel(
            "pool.busy",
            "Time busy",
            "Share of their time that the workers spend on tasks.",
            (Query(f"pool:tinymlaas_worker_busy:ratio5m{_OF}", "busy"),),
            unit="percentunit",
            warn=0.9,
        ),
        Panel(
            "pool.ended",
            "Tasks by how they ended",
            "As the workers count them; cached ones were in the store already.",
            (rate("tinymlaas_worker_tasks_total", _OF, "outcome"),),
            unit="ops",
            show=Show.STACK,
        ),
        Panel(
            "pool.stages",
            "Time in each stage (95 %)",
            "Of the tasks of its workers.",
            quantiles("tinymlaas_task_stage_seconds", _OF, "stage")[1:],
            unit="s",
        ),
    ),
)
_CANDIDATES = Row(
    "Candidates (none for the pool prepare)",
    (
        Panel(
            "pool.outcomes",
            "Candidates by outcome",
            "Verified ones ran and computed the right numbers.",
            (
                Query(
                    f"compiler_outcome:tinymlaas_compile:rate5m{_OF_COMPILER}",
                    "{{outcome}}",
                ),
            ),
            unit="ops",
            show=Show.STACK,
        ),
        Panel(
            "pool.errors",
            "Share that fails",
            "Within an hour. Failing is the farm's fault; a rejection with a reason is none.",
            (Query(f"compiler:tinymlaas_compile_errors:ratio1h{_OF_COMPILER}", "failed"),),
            unit="percentunit",
            warn=0.05,
            bad=0.1,
        ),
        Panel(
            "pool.seconds",
            "Time for a candidate",
            "A worker's time from taking the task to its end.",
            quantiles("tinymlaas_compile_seconds", _OF_COMPILER),
            unit="s",
        ),
        Panel(
            "pool.sizes",
            "Size of module archives",
            "Of modules that were built, not found.",
            quantiles("tinymlaas_module_bytes", _OF),
            unit="bytes",
        ),
        Panel(
            "pool.signatures",
            "Signatures",
            "Asked of the pool's signer.",
            (rate("tinymlaas_signatures_total", _OF, "outcome"),),
            unit="ops",
        ),
    ),
)
_TROUBLE = Row(
    "Trouble",
    (
        Panel(
            "pool.retries",
            "Tasks sent again",
            "Within half an hour, as the store, the signer or RabbitMQ was away.",
            (Query(f"sum(increase(tinymlaas_retries_total{_OF}[30m]))", "retries"),),
            warn=5,
            bad=20,
        ),
        Panel(
            "pool.quarantines",
            "Quarantined tasks",
            "Within an hour: they have killed their workers.",
            (Query(f"sum(increase(tinymlaas_quarantines_total{_OF}[1h]))", "quarantined"),),
            bad=0.5,
        ),
        Panel(
            "pool.stops",
            "Jobs of the sandbox that were stopped",
            "Within an hour, by step and reason.",
            (
                Query(
                    "sum by (step, reason) (increase("
                    f"tinymlaas_sandbox_stops_total{_OF}[1h])) > 0 or on () label_replace("
                    f"sum(increase(tinymlaas_sandbox_stops_total{_OF}[1h])),"
                    ' "reason", "none", "", "")',
                    "{{step}} {{reason}}",
                ),
            ),
            warn=5,
        ),
    ),
)
BOARD = Board(
    "tinymlaas-pool",
    "tinymlaas: a pool",
    "The workers of one pool, what they do, and what becomes of it.",
    (_WORK, _CANDIDATES, _TROUBLE),
    (Variable("pool", "Pool", "tinymlaas_pool_workers", "pool"),),
)
