"""What is shipped in deploy/prometheus and deploy/grafana, read from the files themselves."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.unit.scaffold.project import ROOT

PROMETHEUS, GRAFANA = ROOT / "deploy/prometheus", ROOT / "deploy/grafana"
RULES = (PROMETHEUS / "rules/recording.yaml", PROMETHEUS / "rules/alerts.yaml")
TESTS = sorted((PROMETHEUS / "tests").glob("*.yaml"))


@functools.cache
def rules() -> list[dict[str, Any]]:
    """Return all rules, recording and alerting."""
    groups = [g for path in RULES for g in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


@functools.cache
def recordings() -> dict[str, list[dict[str, Any]]]:
    """Return the recording rules by name; several may record under one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in rules():
        if "record" in rule:
            found.setdefault(rule["record"], []).append(rule)
    return found


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    return [rule for rule in rules() if "alert" in rule]


@functools.cache
def dashboards() -> list[dict[str, Any]]:
    """Return all dashboards."""
    return [
        json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
    ]


@dataclass(frozen=True)
class Shown:
    """A panel of a dashboard."""

    uid: str
    panel: dict[str, Any]

    @property
    def exprs(self) -> list[str]:
        """What it asks."""
        return [target["expr"] for target in self.panel["targets"]]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.uid}: {self.panel['title']}"


def panels() -> Iterator[Shown]:
    """Yield all panels that ask for something."""
    for dashboard in dashboards():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield Shown(dashboard["uid"], panel)
