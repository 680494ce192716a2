"""Time that runs thirty times as fast: a scripted half hour takes a minute.

Every duration in rules is divided by `FACTOR`: windows of ranges, `for`, intervals. Nothing else is
changed: thresholds, labels and functions are those that are shipped. Two durations are not of the
rules: the farm is scraped every second (500 ms would be 15 s of the long half hour), and
`$__rate_interval` is four times that, as Grafana has it at least.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.unit.observing.shipped import PROMETHEUS, RULES

FACTOR = 30
SCRAPE = "1s"
RATE_INTERVAL = "4s"
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE = re.compile(r"\[(\d+)(ms|s|m|h|d)\]")


def shorter(duration: str) -> str:
    """Return a duration, such as ``5m``, divided by `FACTOR`."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)", duration)
    assert found, duration
    return f"{round(int(found[1]) * _SECONDS[found[2]] * 1000 / FACTOR)}ms"


def faster(expr: str) -> str:
    """Return PromQL with every window of a range divided by `FACTOR`."""
    return _RANGE.sub(lambda found: f"[{shorter(found[1] + found[2])}]", expr)


def write(folder: Path, targets: dict[str, list[str]]) -> Path:
    """Write the shipped configuration and rules, made faster, with our `targets` by job; return
    the configuration's path.
    """
    found: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    found["global"] = {
        "scrape_interval": SCRAPE,
        "scrape_timeout": SCRAPE,
        "evaluation_interval": shorter(found["global"]["evaluation_interval"]),
    }
    del found["alerting"]
    assert {each["job_name"] for each in found["scrape_configs"]} == set(targets)
    for each in found["scrape_configs"]:
        each["static_configs"] = [{"targets": targets[each["job_name"]]}]
    assert [PROMETHEUS / name for name in found["rule_files"]] == list(RULES)
    (folder / "rules").mkdir()
    for path in RULES:
        rules = yaml.safe_load(path.read_text())
        for group in rules["groups"]:
            group["interval"] = shorter(group["interval"])
            for rule in group["rules"]:
                rule["expr"] = faster(rule["expr"])
                if "for" in rule:
                    rule["for"] = shorter(rule["for"])
        (folder / "rules" / path.name).write_text(yaml.safe_dump(rules))
    made = folder / "prometheus.yml"
    made.write_text(yaml.safe_dump(found))
    return made
