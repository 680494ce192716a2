"""The page of metrics, from the table that the farm's own counters are made of."""

from __future__ import annotations

from tinymlaas.telemetry import METRICS, Process

HEAD = """\
# Metrics

What `/metrics` of each process of a farm shows, for Prometheus. Tenants are told apart by class,
nothing by job. A histogram has the series `…_bucket`, `…_sum` and `…_count`. Beside these there are
the usual `process_…` of memory and processor.
"""
TITLES = {Process.SCHEDULER: "Of the scheduler", Process.WORKER: "Of each worker"}


def page() -> str:
    """Return the page: metrics by process, those of both first."""
    groups = [("Of all", [metric for metric in METRICS if len(metric.of) > 1])]
    for process, title in TITLES.items():
        groups.append((title, [metric for metric in METRICS if metric.of == (process,)]))
    parts = [HEAD]
    for title, metrics in groups:
        parts.append(f"\n## {title}\n\n| metric | type | labels | |\n| --- | --- | --- | --- |\n")
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
            unit = f" ({metric.unit})" if metric.unit else ""
            parts.append(
                f"| `{metric.exposed}` | {metric.kind}{unit} | {labels} | {metric.about} |\n"
            )
    return "".join(parts)
