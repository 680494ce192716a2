"""Dashboards: what every panel has, and that links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import yaml

from tests.unit.observing.shipped import GRAFANA, dashboards, panels
from tests.unit.scaffold.project import ROOT

# A rate is over what Grafana thinks right; an increase is over the window that its alert has.
_FIXED = re.compile(r"rate\([^\[]*\[(?!\$__rate_interval\])")


def test_what_is_checked_in_is_what_the_code_makes() -> None:
    script = [sys.executable, ROOT / "scripts/dashboards.py", "--check"]
    ran = subprocess.run(script, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_dashboards_have_names_that_stay() -> None:
    assert [each["uid"] for each in dashboards()] == [
        "tinymlaas-farm",
        "tinymlaas-life",
        "tinymlaas-pool",
        "tinymlaas-reliability",
        "tinymlaas-tenants",
    ]


def test_every_panel_says_what_it_shows() -> None:
    for shown in panels():
        panel = shown.panel
        assert panel["description"].endswith("."), shown.name
        assert panel["fieldConfig"]["defaults"]["unit"], shown.name
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], shown.name
        assert panel["targets"], shown.name
        wide = panel["gridPos"]["x"] + panel["gridPos"]["w"]
        assert wide <= 24, shown.name


def test_every_query_goes_to_the_source_that_is_chosen() -> None:
    for shown in panels():
        for target in shown.panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for dashboard in dashboards():
        first = dashboard["templating"]["list"][0]
        assert (first["name"], first["type"], first["query"]) == (
            "datasource",
            "datasource",
            "prometheus",
        )


def test_rates_are_over_the_interval_that_grafana_chooses() -> None:
    wrong = [(s.name, expr) for s in panels() for expr in s.exprs if _FIXED.search(expr)]
    assert not wrong


def test_numbers_of_panels_are_unique_and_panels_do_not_overlap() -> None:
    for dashboard in dashboards():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers)
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, (dashboard["uid"], panel["title"])
            taken |= cells


def test_dashboards_lead_to_each_other() -> None:
    uids = {each["uid"] for each in dashboards()}
    for dashboard in dashboards():
        links = {link["url"].removeprefix("/d/") for link in dashboard["links"]}
        assert links == uids - {dashboard["uid"]}


def test_the_examples_of_provisioning_are_yaml_of_version_1() -> None:
    files = sorted((GRAFANA / "provisioning").glob("*.yaml"))
    assert len(files) == 2
    for file in files:
        assert yaml.safe_load(file.read_text())["apiVersion"] == 1


def test_grafanas_own_types_read_the_dashboards_and_lose_nothing() -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    for dashboard in dashboards():
        read = Dashboard.from_json(dashboard)
        assert json.loads(json.dumps(read, cls=JSONEncoder)) == dashboard
