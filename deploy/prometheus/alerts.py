"""Alerting rules. Each has a section of its name in docs/runbooks.md and a panel that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.grafana.book import BOOK
from deploy.prometheus import slo
from deploy.prometheus.rule import Group
from deploy.prometheus.slo import Slo

CRITICAL, WARNING = "critical", "warning"


@dataclass(frozen=True)
class Links:
    """Where documentation and Grafana are found; the checked-in files have examples."""

    docs: str = "https://docs.example.com/tinymlaas"
    grafana: str = "https://grafana.example.com"


@dataclass(frozen=True)
class Alert:
    """An alert: fires when `expr` has had an answer for `wait`. `panel` names what shows it.

    `summary`, `description` and `choice` may name labels, as ``{{ $labels.pool }}``, and nothing
    else. `choice` is what the panel's dashboard is to be of: its variable, and the value.
    """

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str
    panel: str
    choice: str = ""

    @property
    def anchor(self) -> str:
        """The heading of its section in docs/runbooks.md, as links write it."""
        return self.name.lower()

    def annotations(self, links: Links) -> dict[str, str]:
        """Return its annotations."""
        uid, number = BOOK.panel(self.panel)
        chosen = f"&var-{self.choice}" if self.choice else ""
        return {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{links.docs}/runbooks/#{self.anchor}",
            "dashboard_url": f"{links.grafana}/d/{uid}?viewPanel={number}{chosen}",
        }

    def data(self, links: Links) -> dict[str, Any]:
        """Return the rule as a rule file has it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": self.annotations(links),
        }


_POOL = "pool={{ $labels.pool }}"
_CLASS = "tenant_class={{ $labels.tenant_class }}"


def _burn(each: Slo, windows: tuple[tuple[float, str, str], ...]) -> str:
    def pair(factor: float, long: str, short: str) -> str:
        most = round(factor * each.budget, 6)
        ratio = "slo:tinymlaas_errors:ratio_rate"
        which = f'{{slo="{each.name}"}}'
        return (
            f"({ratio}{long}{which} > {most} and {ratio}{short}{which} > {most}\n"
            f"  and on () {each.events(long)} >= {slo.LEAST_EVENTS})"
        )

    return "\nor\n".join(pair(*window) for window in windows)


def _burns(each: Slo, name: str) -> list[Alert]:
    promised = f"{each.title}: {each.objective:.0%} within {slo.PERIOD}"
    return [
        Alert(
            f"Tinymlaas{name}BudgetBurnsFast",
            _burn(each, slo.FAST),
            "2m",
            CRITICAL,
            f"The error budget of '{each.name}' is burning fast",
            f"{promised}. At this rate the budget of a month is gone within days.",
            "slo.burn",
        ),
        Alert(
            f"Tinymlaas{name}BudgetBurnsSlowly",
            _burn(each, slo.SLOW),
            "15m",
            WARNING,
            f"The error budget of '{each.name}' will not last",
            f"{promised}. At this rate the budget is gone before the month is.",
            "slo.burn",
        ),
    ]


SCHEDULING = (
    Alert(
        "TinymlaasNoActiveScheduler",
        "(sum(tinymlaas_scheduler_active) or vector(0)) < 1",
        "2m",
        CRITICAL,
        "No scheduler is active",
        "Requests wait in RabbitMQ and nothing is begun; or Prometheus does not reach the farm.",
        "slo.active",
    ),
    Alert(
        "TinymlaasTwoActiveSchedulers",
        "sum(tinymlaas_scheduler_active) > 1",
        "2m",
        CRITICAL,
        "More than one scheduler is active",
        "They take each other's jobs. The lock queue of RabbitMQ should make that impossible.",
        "slo.active",
    ),
    Alert(
        "TinymlaasLoopStuck",
        "tinymlaas_loop_age_seconds > 30",
        "0m",  # it is an age already, and Kubernetes ends such a process within a minute or so
        CRITICAL,
        "A process of the farm is stuck",
        "The loop of {{ $labels.instance }} does not turn; its /healthz is 503 by now.",
        "slo.loop",
    ),
)
QUEUES = (
    Alert(
        "TinymlaasPoolWithoutWorkers",
        "sum by (pool) (pool_state:tinymlaas_pool_tasks:active) > 0\nand\n"
        "sum by (pool) (pool_state:tinymlaas_pool_workers:active) == 0",
        "10m",
        CRITICAL,
        "Pool {{ $labels.pool }} has work and no worker",
        "Tasks of pool {{ $labels.pool }} wait, and no worker of it has been heard of.",
        "pool.workers",
        _POOL,
    ),
    Alert(
        "TinymlaasQueueGrows",
        'pool_state:tinymlaas_pool_tasks:active{state="waiting"} > 100\nand\n'
        'deriv(pool_state:tinymlaas_pool_tasks:active{state="waiting"}[30m]) > 0',
        "30m",
        WARNING,
        "The queue of pool {{ $labels.pool }} grows",
        "More is asked of pool {{ $labels.pool }} than its workers do, for half an hour now.",
        "pool.tasks",
        _POOL,
    ),
    Alert(
        "TinymlaasOldestJobWaits",
        "max by (tenant_class) "
        '(state_class:tinymlaas_oldest_job_seconds:active{state=~"queued|planning"}) > 1800',
        "5m",
        WARNING,
        "A job of class {{ $labels.tenant_class }} has waited for half an hour",
        "It has not had its turn, or waits for the first worker of a pool to be planned.",
        "tenants.oldest",
        _CLASS,
    ),
    Alert(
        "TinymlaasOldestTaskWaits",
        "pool:tinymlaas_oldest_task_seconds:active > 1800\nand on (pool)\n"
        "sum by (pool) (pool_state:tinymlaas_pool_workers:active) > 0",
        "5m",
        WARNING,
        "A task of pool {{ $labels.pool }} has waited for half an hour",
        "Pool {{ $labels.pool }} has workers, and yet none has begun it.",
        "pool.oldest",
        _POOL,
    ),
)
WORK = (
    Alert(
        "TinymlaasQuarantine",
        "sum by (pool) (increase(tinymlaas_quarantines_total[1h])) > 0",
        "0m",
        WARNING,
        "A task has killed its workers of pool {{ $labels.pool }}",
        "Its jobs have ended as quarantined; they can be replayed once the cause is mended.",
        "pool.quarantines",
        _POOL,
    ),
    Alert(
        "TinymlaasCompilerFails",
        "compiler:tinymlaas_compile_errors:ratio1h > 0.1\nand on (compiler)\n"
        "sum by (compiler) (increase(tinymlaas_compile_seconds_count[1h])) >= 10",
        "10m",
        WARNING,
        "Compiler {{ $labels.compiler }} fails often",
        "More than a tenth of the candidates of {{ $labels.compiler }} failed within an hour.",
        "pool.errors",
        "pool={{ $labels.compiler }}",
    ),
    Alert(
        "TinymlaasCacheCollapse",
        "farm:tinymlaas_cache_hits:ratio1h < 0.5 * farm:tinymlaas_cache_hits:ratio1d\n"
        "and farm:tinymlaas_cache_hits:ratio1d > 0.2\n"
        "and on () (sum(increase(tinymlaas_cache_hits_total[1h]))"
        " + sum(increase(tinymlaas_compile_seconds_count[1h]))) >= 50",
        "15m",
        WARNING,
        "Candidates are found in the store far less often than before",
        "Within the last hour less than half as many were found as within a day.",
        "life.cache",
    ),
    Alert(
        "TinymlaasTasksRetried",
        "sum by (pool) (increase(tinymlaas_retries_total[30m])) > 20",
        "5m",
        WARNING,
        "Tasks of pool {{ $labels.pool }} are sent again and again",
        "Workers of pool {{ $labels.pool }} do not reach the store, the signer or RabbitMQ.",
        "pool.retries",
        _POOL,
    ),
    Alert(
        "TinymlaasSandboxStops",
        "sum by (pool, step, reason) (increase(tinymlaas_sandbox_stops_total"
        '{reason=~"memory|time|cpu|processes|threads|answer|sandbox"}[1h])) > 5',
        "0m",
        WARNING,
        "Step {{ $labels.step }} of pool {{ $labels.pool }} is stopped: {{ $labels.reason }}",
        "More than five jobs of the sandbox were ended for this within an hour.",
        "pool.stops",
        _POOL,
    ),
    Alert(
        "TinymlaasSigningFails",
        'sum by (pool) (increase(tinymlaas_signatures_total{outcome="failed"}[15m])) > 0',
        "0m",
        CRITICAL,
        "Modules of pool {{ $labels.pool }} cannot be signed",
        "What is not signed is not delivered: its tasks are tried again, five times.",
        "slo.signatures",
    ),
)
SERVICES = (
    Alert(
        "TinymlaasUnroutable",
        "sum by (to) (increase(tinymlaas_broker_publishes_total"
        '{outcome="returned", to=~"task|outcome|dead_letter"}[15m])) > 0',
        "0m",
        CRITICAL,
        "RabbitMQ has no queue for messages of kind {{ $labels.to }}",
        "A queue or a binding is gone. Nothing is lost: they are sent again.",
        "slo.publishes",
    ),
    Alert(
        "TinymlaasPublishesRefused",
        'sum by (to) (increase(tinymlaas_broker_publishes_total{outcome="refused"}[15m])) > 0',
        "5m",
        WARNING,
        "RabbitMQ refuses messages of kind {{ $labels.to }}",
        "A queue is full, or RabbitMQ has been away for long.",
        "slo.publishes",
    ),
    Alert(
        "TinymlaasDeadLetters",
        'sum(increase(tinymlaas_broker_publishes_total{to="dead_letter"}[1h])) > 0',
        "0m",
        WARNING,
        "Messages were put among the dead letters",
        "They are no request, or could not be answered. Each has its reason with it.",
        "slo.publishes",
    ),
    Alert(
        "TinymlaasBrokerAway",
        'tinymlaas_broker_connected{link=~"publisher|kills"} == 0',
        "5m",
        CRITICAL,
        "{{ $labels.instance }} has no connection to RabbitMQ",
        "It does nothing, and tries again for ever. Before its first, it may wait for the store.",
        "slo.broker",
    ),
    Alert(
        "TinymlaasBrokerFlaps",
        # A scheduler in standby makes its link "control" anew all the time: it asks for the lock.
        'increase(tinymlaas_broker_connections_total{link!="control"}[15m]) > 5',
        "0m",
        WARNING,
        "{{ $labels.instance }} loses its connection {{ $labels.link }} again and again",
        "More than five new connections within a quarter of an hour.",
        "slo.broker",
    ),
    Alert(
        "TinymlaasStoreFails",
        "operation:tinymlaas_store_errors:ratio10m > 0.05\nand on (operation)\n"
        "sum by (operation) (increase(tinymlaas_store_errors_total[10m])) > 2",
        "5m",
        CRITICAL,
        "The object store fails at {{ $labels.operation }}",
        "More than one request of twenty of this kind failed within ten minutes, and several did.",
        "slo.store_errors",
    ),
    Alert(
        "TinymlaasStoreSlow",
        "operation:tinymlaas_store_seconds:p95_5m > 2.5",
        "15m",
        WARNING,
        "The object store is slow at {{ $labels.operation }}",
        "One request of twenty of this kind takes longer than 2.5 s.",
        "slo.store_seconds",
    ),
)
ALERTS = (
    *SCHEDULING,
    *QUEUES,
    *WORK,
    *SERVICES,
    *_burns(slo.JOBS, "Jobs"),
    *_burns(slo.WAIT, "Wait"),
)


def groups(links: Links = Links()) -> list[Group]:
    """Return the groups of alerts, with where they link to."""
    return [Group("tinymlaas-alerts", [each.data(links) for each in ALERTS])]
