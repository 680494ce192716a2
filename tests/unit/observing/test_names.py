"""What dashboards and rules ask for is exported, and what is exported is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.unit.observing.promql import names, selectors
from tests.unit.observing.shipped import dashboards, panels, recordings, rules
from tinymlaas.telemetry import METRICS, Kind

# Exported for people who look at a single process; no dashboard or rule needs it.
UNUSED: dict[str, str] = {}
# Prometheus' own, and what prometheus_client says of the process.
OTHERS = {
    "ALERTS": {"alertname", "alertstate"},
    "process_resident_memory_bytes": set[str](),
    "process_cpu_seconds_total": set[str](),
}
EVERYWHERE = {"job", "instance", "le"}


def exprs() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression."""
    for rule in rules():
        yield rule.get("record") or rule["alert"], rule["expr"]
    for shown in panels():
        for expr in shown.exprs:
            yield shown.name, expr


def exported() -> dict[str, set[str]]:
    """Name of each series that the code exports, to its labels."""
    return {name: set(each.labels) for each in METRICS for name in each.series}


def test_every_metric_that_is_asked_for_is_exported() -> None:
    known = {*exported(), *recordings(), *OTHERS}
    missing = {(where, name) for where, expr in exprs() for name in names(expr) - known}
    assert not missing


def test_every_label_that_is_asked_for_is_one_of_the_metric() -> None:
    known = exported() | OTHERS
    wrong = {
        (where, name, label)
        for where, expr in exprs()
        for name, labels in selectors(expr)
        if name in known
        for label in labels - known[name] - EVERYWHERE
    }
    assert not wrong


def test_every_metric_that_is_exported_is_asked_for() -> None:
    asked = {name for _, expr in exprs() for name in names(expr)}
    unasked = {each.exposed for each in METRICS if not asked & set(each.series)}
    assert unasked == set(UNUSED), "use it in deploy/, or say in UNUSED why it is exported"


def test_every_recording_rule_is_asked_for() -> None:
    asked = {name for _, expr in exprs() for name in names(expr)}
    assert set(recordings()) <= asked


def test_what_is_counted_is_asked_for_as_a_rate() -> None:
    """A counter by itself says how long its process has lived."""
    counters = {each.exposed for each in METRICS if each.kind is Kind.COUNTER}
    for where, expr in exprs():
        for name in names(expr) & counters:
            for found in re.finditer(rf"\b{name}\b", expr):
                before = expr[: found.start()]
                assert before.endswith(("rate(", "increase(")), (where, name)


def test_every_choice_is_of_labels_that_there_are() -> None:
    known = exported()
    for dashboard in dashboards():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                inside = variable["query"].removeprefix("label_values(").removesuffix(")")
                metric, label = inside.split(", ")
                assert label in known[metric]
