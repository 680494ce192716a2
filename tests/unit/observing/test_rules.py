"""Rules: Prometheus takes them, alerts are tried both ways and lead to runbook and panel."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.unit.observing.promql import names
from tests.unit.observing.shipped import (
    PROMETHEUS,
    RULES,
    TESTS,
    alerts,
    dashboards,
    panels,
    recordings,
)
from tests.unit.scaffold.project import ROOT

ACTIVE = "tinymlaas_scheduler_active"
_LINK = r"/d/([a-z-]+)\?viewPanel=(\d+)(?:&var-(\w+)=\{\{ \$labels\.\w+ \}\})?$"
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


def test_prometheus_takes_rules_and_configuration() -> None:
    for arguments in (
        ("check", "rules", *RULES),
        ("check", "config", PROMETHEUS / "prometheus.yml"),
    ):
        ran = promtool(*arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent_as_their_cases_say(path: Path) -> None:
    ran = promtool("test", "rules", path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_they_fire_too_where_each_farm_has_a_label_of_its_own(path: Path, tmp_path: Path) -> None:
    """As the Prometheus Operator's `enforcedNamespaceLabel` puts it onto all that rules make; of
    the alerts that join several things, which may come to have different labels by it.
    """
    own = {"namespace": "farm"}
    content = yaml.safe_load(path.read_text())
    content["rule_files"] = []
    joined = {alert["alert"] for alert in alerts() if " and " in alert["expr"].replace("\n", " ")}
    content["tests"] = [
        test
        for test in content["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"] and case["alertname"] in joined
    ]
    for file in RULES:
        rules = yaml.safe_load(file.read_text())
        for rule in (each for group in rules["groups"] for each in group["rules"]):
            rule["labels"] = rule.get("labels", {}) | own
        (tmp_path / file.name).write_text(yaml.safe_dump(rules))
        content["rule_files"].append(str(tmp_path / file.name))
    for test in content["tests"]:
        for fires in (each for case in test["alert_rule_test"] for each in case["exp_alerts"]):
            fires["exp_labels"] |= own
    (tmp_path / path.name).write_text(yaml.safe_dump(content))
    ran = promtool("test", "rules", tmp_path / path.name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_case_that_expects_the_contrary_fails(tmp_path: Path) -> None:
    """Else the test above could not fail."""
    (path,) = [each for each in TESTS if each.stem == "minutes"]
    content = yaml.safe_load(path.read_text())
    content["rule_files"] = list(map(str, RULES))
    content["tests"] = content["tests"][:1]
    content["tests"][0]["alert_rule_test"][0]["exp_alerts"] = []
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(content))
    assert promtool("test", "rules", tmp_path / "wrong.yaml").returncode != 0


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    cases: Counter[tuple[str, bool]] = Counter()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                cases[case["alertname"], bool(case["exp_alerts"])] += 1
    wanted = {(alert["alert"], fires) for alert in alerts() for fires in (True, False)}
    assert set(cases) == wanted


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    headings = re.findall(r"^## (Tinymlaas\w+)$", RUNBOOKS, re.MULTILINE)
    assert sorted(headings) == sorted(alert["alert"] for alert in alerts())
    for alert in alerts():
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert page.endswith("/runbooks/")
        assert anchor == alert["alert"].lower(), "as the site makes anchors of headings"


@pytest.mark.parametrize("heading", re.findall(r"^## (Tinymlaas\w+)$", RUNBOOKS, re.MULTILINE))
def test_a_runbook_says_what_to_do(heading: str) -> None:
    section = RUNBOOKS.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    for part in ("**Means.**", "**Look.**", "**Do.**", "**Escalate**"):
        assert part in section


def test_every_alert_says_how_bad_it_is_and_what() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["for"]
        for said in ("summary", "description"):
            assert alert["annotations"][said].strip()


def measured(expr: str) -> set[str]:
    """The metrics that `expr` is about in the end, recording rules resolved."""
    found: set[str] = set()
    for name in names(expr):
        rules = recordings().get(name)
        inner = {each for rule in rules for each in measured(rule["expr"])} if rules else {name}
        found |= inner
    return {re.sub("_(bucket|count|sum)$", "", name) for name in found}


def test_every_alert_leads_to_a_panel_that_shows_what_it_is_about() -> None:
    shown = {(each.uid, each.panel["id"]): each for each in panels()}
    for alert in alerts():
        link = re.search(_LINK, alert["annotations"]["dashboard_url"])
        assert link, alert["alert"]
        panel = shown[link[1], int(link[2])]
        asked = {name for expr in panel.exprs for name in measured(expr)}
        about = measured(alert["expr"])
        if about != {ACTIVE}:  # by which rules choose whom to believe
            about -= {ACTIVE}
        assert asked & about, f"{alert['alert']}: {panel.name} shows {asked}"


def test_a_link_to_a_dashboard_of_one_pool_or_class_says_which() -> None:
    choices = {
        dashboard["uid"]: {
            each["name"] for each in dashboard["templating"]["list"] if each["type"] == "query"
        }
        for dashboard in dashboards()
    }
    for alert in alerts():
        link = re.search(_LINK, alert["annotations"]["dashboard_url"])
        assert link, alert["alert"]
        assert {link[3]} - {None} == choices[link[1]], alert["alert"]
