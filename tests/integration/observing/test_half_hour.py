"""A real Prometheus scrapes a running farm through a half hour compressed into a minute."""

from __future__ import annotations

import subprocess

from tests.integration.observing.conftest import Watched
from tests.integration.observing.faster import RATE_INTERVAL, faster
from tests.unit.observing.shipped import alerts, panels, rules
from tinymlaas.contract.messages import JobState

# What the story has in it; what may follow of it, depending on the moment; nothing else may fire.
MUST_FIRE = {
    "TinymlaasDeadLetters",
    "TinymlaasJobsBudgetBurnsFast",
    "TinymlaasPoolWithoutWorkers",
    "TinymlaasQuarantine",
}
MAY_FIRE = {
    "TinymlaasBrokerAway",  # a worker that begins anew, if that takes it longer than ten seconds
    "TinymlaasCompilerFails",
    "TinymlaasJobsBudgetBurnsSlowly",
}


def test_jobs_of_all_kinds_were_there(watched: Watched) -> None:
    ends = watched.story.ends()
    for state in ("done", "rejected", "failed", "cancelled", "quarantined"):
        assert ends[JobState(state)] > 0, ends
    assert watched.story.refused > 0


def test_what_is_counted_is_what_happened(watched: Watched) -> None:
    asked = "sum by (state) (tinymlaas_jobs_ended_total)"
    found = watched.prometheus.now(asked, watched.counted)
    counted = {each.labels["state"]: each.values[0] for each in found if any(each.values)}
    assert counted == {state.value: number for state, number in watched.story.ends().items()}


def test_every_recording_rule_evaluates_to_data(watched: Watched) -> None:
    lacking = []
    for rule in rules():
        if "record" in rule:
            labels = ", ".join(f'{k}="{v}"' for k, v in rule.get("labels", {}).items())
            found = watched.over(f"{rule['record']}{{{labels}}}")
            if not any(each.values for each in found):
                lacking.append(rule["record"] + labels)
    assert not lacking


def test_no_rule_fails(watched: Watched) -> None:
    groups = watched.prometheus.get("rules")["groups"]
    health = {(rule["name"], rule["health"]) for group in groups for rule in group["rules"]}
    assert len(groups) == 5
    assert {state for _, state in health} == {"ok"}, health


def test_every_query_of_every_dashboard_returns_a_series(watched: Watched) -> None:
    lacking = []
    for shown in panels():
        for expr in shown.exprs:
            asked = faster(expr).replace("$__rate_interval", RATE_INTERVAL)
            asked = asked.replace("$pool", "stub").replace("$tenant_class", ".+")
            assert "$" not in asked
            if not any(each.values for each in watched.over(asked)):
                lacking.append((shown.name, asked))
    assert not lacking


def test_alerts_fire_for_what_happened_and_for_nothing_else(watched: Watched) -> None:
    found = watched.over('ALERTS{alertstate="firing"}')
    up = watched.over('up{job="tinymlaas-scheduler"}')
    unseen = {"TinymlaasNoActiveScheduler"} if any(0.0 in each.values for each in up) else set()
    fired = {each.labels["alertname"] for each in found}
    assert fired >= MUST_FIRE
    # Where an answer takes a second, as on a busy machine, nobody may have been seen to be active.
    silent = {alert["alert"] for alert in alerts()} - MUST_FIRE - MAY_FIRE - unseen
    assert not fired & silent
    assert len(silent) > 15


def test_alerts_say_of_what_they_are(watched: Watched) -> None:
    found = watched.over('ALERTS{alertname="TinymlaasPoolWithoutWorkers", alertstate="firing"}')
    # Of the stub the poison ends two workers, and the next takes its time on a busy machine.
    assert {each.labels["pool"] for each in found} - {"stub"} == {"spare"}
    found = watched.over('ALERTS{alertname="TinymlaasQuarantine", alertstate="firing"}')
    assert {each.labels["pool"] for each in found} == {"stub"}


def test_promtool_has_nothing_to_say_of_the_pages(watched: Watched) -> None:
    for process in watched.farm.processes():
        if not process.running:
            continue
        status, page = process.get("/metrics")
        assert status == 200
        command = ["promtool", "check", "metrics"]
        ran = subprocess.run(
            command, input=page, capture_output=True, text=True, timeout=60, check=False
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", ""), process.name
