"""What is promised, how much of the error budget is left, and what alerts look at."""

from __future__ import annotations

from deploy.grafana.panel import Board, Panel, Query, Row, Show, quantiles, rate
from deploy.prometheus import slo

_BUDGET = "on (slo) group_left () (1 - slo:tinymlaas_objective:ratio)"
_PROMISES = Row(
    "Promises: " + "; ".join(f"{each.objective:.0%}: {each.title}" for each in slo.SLOS),
    (
        Panel(
            "slo.budget",
            "Error budget left",
            f"Of {slo.PERIOD}; below zero the promise is broken.",
            (Query("slo:tinymlaas_error_budget:remaining30d", "{{slo}}"),),
            unit="percentunit",
            warn=0.5,
            bad=0.1,
            low=True,
            least=None,
        ),
        Panel(
            "slo.burn",
            "Burn rate",
            "How many times too fast the budget is spent: 1 spends all of it in 30 days.",
            tuple(
                Query(
                    f"slo:tinymlaas_errors:ratio_rate{window} / {_BUDGET}", f"{{{{slo}}}} {window}"
                )
                for window in ("5m", "1h", "6h", "3d")
            ),
            warn=1,
            bad=14.4,
        ),
        Panel(
            "slo.alerts",
            "Alerts",
            "Pending and firing; each has a section among the runbooks.",
            (Query('ALERTS{alertname=~"Tinymlaas.+"}'),),
            show=Show.TABLE,
        ),
    ),
)
_PROCESSES = Row(
    "Processes",
    (
        Panel(
            "slo.active",
            "Active schedulers",
            "There must be exactly one.",
            (Query("sum(tinymlaas_scheduler_active)", "active"),),
        ),
        Panel(
            "slo.loop",
            "Age of the last turn",
            "Of each process's own loop; it is stuck from 30 s on.",
            (Query("tinymlaas_loop_age_seconds", "{{instance}}"),),
            unit="s",
            bad=30,
        ),
        Panel(
            "slo.signatures",
            "Signatures by pool",
            "What is not signed is not delivered.",
            (rate("tinymlaas_signatures_total", "", "pool, outcome"),),
            unit="ops",
        ),
    ),
)
_SERVICES = Row(
    "RabbitMQ and the object store",
    (
        Panel(
            "slo.broker",
            "Connections to RabbitMQ",
            "1 while it is open. A scheduler in standby asks for the lock again and again by"
            " 'control', and does not have 'requests'.",
            (
                Query("tinymlaas_broker_connected", "{{instance}} {{link}}"),
                Query(
                    "increase(tinymlaas_broker_connections_total[15m])",
                    "{{instance}} {{link}}: new within 15 min",
                ),
            ),
            width=12,
        ),
        Panel(
            "slo.publishes",
            "Messages published",
            "By kind and what RabbitMQ said. A reply or result that is returned is one that nobody"
            " hears any more.",
            (rate("tinymlaas_broker_publishes_total", "", "to, outcome"),),
            unit="ops",
            width=12,
        ),
        Panel(
            "slo.store",
            "Requests to the store",
            "By operation.",
            (rate("tinymlaas_store_seconds_count", "", "operation"),),
            unit="reqps",
        ),
        Panel(
            "slo.store_errors",
            "Share of requests that fail",
            "Within ten minutes; that something is not there is no failure.",
            (Query("operation:tinymlaas_store_errors:ratio10m", "{{operation}}"),),
            unit="percentunit",
            bad=0.05,
        ),
        Panel(
            "slo.store_seconds",
            "Time of a request (95 %)",
            "By operation.",
            (Query("operation:tinymlaas_store_seconds:p95_5m", "{{operation}}"),),
            unit="s",
            bad=2.5,
        ),
        Panel(
            "slo.store_faults",
            "Failures of the store",
            "By what went wrong: it was away, it refused, or an object is damaged.",
            (rate("tinymlaas_store_errors_total", "", "error"),),
            unit="ops",
            width=12,
        ),
        Panel(
            "slo.store_all",
            "Time of all requests",
            "Whatever the operation.",
            quantiles("tinymlaas_store_seconds", ""),
            unit="s",
            width=12,
        ),
    ),
)
BOARD = Board(
    "tinymlaas-reliability",
    "tinymlaas: reliability",
    "Promises, error budgets, alerts, and the services that the farm stands on.",
    (_PROMISES, _PROCESSES, _SERVICES),
)
