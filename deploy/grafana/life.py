"""A model's life: from the request to the signed module, in the order of its stages."""

from __future__ import annotations

from deploy.grafana.panel import Board, Panel, Query, Row, Show, quantiles, rate

_PREPARE = Row(
    "Wait and prepare",
    (
        Panel(
            "life.wait",
            "Wait for a turn",
            "From the request to planning.",
            quantiles("tinymlaas_job_wait_seconds", ""),
            unit="s",
            width=6,
        ),
        Panel(
            "life.prepared",
            "Inspected and quantised",
            "Refused models are not sound, or not supported.",
            (rate("tinymlaas_prepare_seconds_count", "", "kind, outcome"),),
            unit="ops",
            show=Show.STACK,
            width=6,
        ),
        Panel(
            "life.prepare",
            "Time to inspect or quantise",
            "A worker's time.",
            quantiles("tinymlaas_prepare_seconds", "", "kind"),
            unit="s",
            width=6,
        ),
        Panel(
            "life.models",
            "Size of the models",
            "Of their constants, as stored in the model.",
            quantiles("tinymlaas_model_weight_bytes", ""),
            unit="bytes",
            width=6,
        ),
    ),
)
_PLAN = Row(
    "Plan",
    (
        Panel(
            "life.plan",
            "Time to plan",
            "From its turn to its candidates, preparing and pools that are waited for included.",
            quantiles("tinymlaas_job_stage_seconds", '{stage="planning"}'),
            unit="s",
        ),
        Panel(
            "life.cache",
            "Found in the store",
            "Share of the candidates that need not be built.",
            (
                Query("farm:tinymlaas_cache_hits:ratio1h", "last hour"),
                Query("farm:tinymlaas_cache_hits:ratio1d", "last day"),
            ),
            unit="percentunit",
        ),
        Panel(
            "life.hits",
            "Who found it",
            "The scheduler when it plans, or a worker before it begins.",
            (rate("tinymlaas_cache_hits_total", "", "found_by"),),
            unit="ops",
        ),
    ),
)
_COMPILE = Row(
    "Compile and judge",
    (
        Panel(
            "life.outcomes",
            "Candidates by compiler and outcome",
            "Verified ones ran and computed the right numbers.",
            (Query("compiler_outcome:tinymlaas_compile:rate5m", "{{compiler}} {{outcome}}"),),
            unit="ops",
            show=Show.STACK,
            width=6,
        ),
        Panel(
            "life.seconds",
            "Time for a candidate (95 %)",
            "By compiler.",
            quantiles("tinymlaas_compile_seconds", "", "compiler")[1:],
            unit="s",
            width=6,
        ),
        Panel(
            "life.compiling",
            "Time that a job compiles",
            "From its plan to its last candidate; waiting for workers included.",
            quantiles("tinymlaas_job_stage_seconds", '{stage="compiling"}'),
            unit="s",
            width=6,
        ),
        Panel(
            "life.judge",
            "Time to judge",
            "Running a module on labelled samples.",
            quantiles("tinymlaas_judge_seconds", "", "compiler"),
            unit="s",
            width=6,
        ),
        Panel(
            "life.stages",
            "Time in each stage of a task (95 %)",
            "Of all pools.",
            quantiles("tinymlaas_task_stage_seconds", "", "stage")[1:],
            unit="s",
            width=12,
        ),
        Panel(
            "life.judged",
            "Modules judged",
            "By outcome.",
            (rate("tinymlaas_judge_seconds_count", "", "compiler, outcome"),),
            unit="ops",
            width=12,
        ),
    ),
)
_PUBLISH = Row(
    "Sign and publish",
    (
        Panel(
            "life.modules",
            "Size of module archives",
            "Of modules that were built.",
            quantiles("tinymlaas_module_bytes", ""),
            unit="bytes",
            width=6,
        ),
        Panel(
            "life.signatures",
            "Signatures",
            "Asked of the pools' signers.",
            (rate("tinymlaas_signatures_total", "", "outcome"),),
            unit="ops",
            width=6,
        ),
        Panel(
            "life.publishing",
            "Time to publish",
            "From the end to its record, its event and its reply.",
            quantiles("tinymlaas_job_stage_seconds", '{stage="publishing"}'),
            unit="s",
            width=6,
        ),
        Panel(
            "life.ended",
            "Jobs that end",
            "By state.",
            (rate("tinymlaas_jobs_ended_total", "", "state"),),
            unit="ops",
            show=Show.STACK,
            width=6,
        ),
    ),
)
BOARD = Board(
    "tinymlaas-life",
    "tinymlaas: a model's life",
    "What a model goes through, from the request to the signed module.",
    (_PREPARE, _PLAN, _COMPILE, _PUBLISH),
)
