"""Rules as data, and as the YAML that Prometheus reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml


@dataclass(frozen=True)
class Recording:
    """A recording rule: `name` is level:metric:operation, as Prometheus recommends."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """Return the rule as a rule file has it."""
        found: dict[str, Any] = {"record": self.name, "expr": self.expr}
        return found | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, in this order, every `interval`."""

    name: str
    rules: Sequence[Mapping[str, Any]]
    interval: str = "30s"

    def data(self) -> dict[str, Any]:
        """Return the group as a rule file has it."""
        return {
            "name": self.name,
            "interval": self.interval,
            "rules": [dict(r) for r in self.rules],
        }


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def document(about: str, content: Mapping[str, Any]) -> str:
    """Return `content` as YAML below a comment that says where it is from."""
    made = "Made by scripts/dashboards.py from deploy/prometheus/*.py: change it there."
    return f"# {about}\n# {made}\n" + yaml.dump(
        dict(content), Dumper=_Dumper, sort_keys=False, width=10_000
    )
