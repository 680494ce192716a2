"""Tenants, by class: who waits, how long, and what they get."""

from __future__ import annotations

from deploy.grafana.panel import Board, Panel, Query, Row, Show, Variable, quantiles, rate

_OF = '{tenant_class=~"$tenant_class"}'
_WAITING = Row(
    "Waiting",
    (
        Panel(
            "tenants.jobs",
            "Unfinished jobs",
            "By class and state.",
            (Query(f"state_class:tinymlaas_jobs:active{_OF}", "{{tenant_class}} {{state}}"),),
            show=Show.STACK,
        ),
        Panel(
            "tenants.oldest",
            "Oldest job that waits",
            "How long the oldest job has waited that is queued, or not planned yet.",
            (
                Query(
                    "max by (tenant_class) (state_class:tinymlaas_oldest_job_seconds:active"
                    '{state=~"queued|planning", tenant_class=~"$tenant_class"})',
                    "{{tenant_class}}",
                ),
            ),
            unit="s",
            warn=300,
            bad=1800,
        ),
        Panel(
            "tenants.wait",
            "Wait for a turn",
            "Of the jobs that have had it.",
            quantiles("tinymlaas_job_wait_seconds", _OF, "tenant_class"),
            unit="s",
            warn=60,
        ),
    ),
)
_SERVED = Row(
    "Served",
    (
        Panel(
            "tenants.accepted",
            "Jobs that come",
            "By class.",
            (rate("tinymlaas_jobs_accepted_total", _OF, "tenant_class"),),
            unit="ops",
            show=Show.STACK,
        ),
        Panel(
            "tenants.ended",
            "Jobs that end",
            "By class and state.",
            (rate("tinymlaas_jobs_ended_total", _OF, "tenant_class, state"),),
            unit="ops",
            show=Show.STACK,
        ),
        Panel(
            "tenants.seconds",
            "From request to result",
            "Of jobs that are done.",
            quantiles(
                "tinymlaas_job_seconds",
                '{state="done", tenant_class=~"$tenant_class"}',
                "tenant_class",
            ),
            unit="s",
        ),
        Panel(
            "tenants.bad",
            "Jobs that end badly",
            "Failed and quarantined, as a share of all that were not cancelled.",
            (
                Query(
                    "sum by (tenant_class) (rate(tinymlaas_jobs_ended_total"
                    '{state=~"failed|quarantined", tenant_class=~"$tenant_class"}'
                    "[$__rate_interval])) / sum by (tenant_class) (rate("
                    'tinymlaas_jobs_ended_total{state!="cancelled", '
                    'tenant_class=~"$tenant_class"}[$__rate_interval]))',
                    "{{tenant_class}}",
                ),
            ),
            unit="percentunit",
            warn=0.01,
            bad=0.1,
        ),
    ),
)
BOARD = Board(
    "tinymlaas-tenants",
    "tinymlaas: tenants",
    "Classes of tenants: none is told apart by name.",
    (_WAITING, _SERVED),
    (Variable("tenant_class", "Class", "tinymlaas_jobs", "tenant_class", several=True),),
)
