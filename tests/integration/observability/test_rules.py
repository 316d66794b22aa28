"""Prometheus' and Alertmanager's own tools on what we give them."""

import re
import shutil
import subprocess

import pytest
import yaml

from observability import promtool
from observability.files import DEPLOY, groups, read, rule_files, write
from observability.rules import alerts
from observability.windows import Scale

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prometheus_programs")]

TOLD = read()
GROUPS = groups(TOLD)
RULES = DEPLOY / "rules"
BY_HAND = DEPLOY / "tests" / "conditions.yaml"
CASES = {
    **{service.service: list(promtool.burn_cases(service)) for service in TOLD.services},
    "drift": [
        case for watched in TOLD.drift.features for case in promtool.drift_cases(watched, TOLD.baseline)
    ],
}


def _shown_by_hand(how):
    """Names of the alerts that tests written by hand show to fire, or to be silent."""
    names = [test["name"] for test in yaml.safe_load(BY_HAND.read_text())["tests"]]
    return {alert for name in names for alert in re.findall(rf"(\w+) {how}\b", name)}


def test_rules_are_rules():
    done = promtool.run("check", "rules", *sorted(RULES.glob("*.yaml")))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("divisor", [60, 120, 600])
def test_rules_of_other_scales_are_rules(tmp_path, divisor):
    write(tmp_path, rule_files(TOLD, Scale(divisor)))
    done = promtool.run("check", "rules", *sorted(tmp_path.glob("*.yaml")))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", CASES)
def test_alerts_fire_near_their_bound_and_are_silent_on_its_other_side(tmp_path, name):
    names = [group.name for group in GROUPS[name]]
    done = promtool.run(
        "test", "rules", *promtool.write(tmp_path, RULES / f"{name}.yaml", names, CASES[name])
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_conditions_fire_and_are_silent():
    done = promtool.run("test", "rules", BY_HAND)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("detector", "14.4 *", "16 *"),
        ("detector", "14.4 *", "13 *"),
        ("detector", "ratio_rate5m{", "ratio_rate1h{"),
        ("classifier", 'le="0.2"', 'le="0.6"'),
        ("drift", "> 0.25", "> 0.3"),
        ("drift", "> 0.25", "> 0.2"),
    ],
)
def test_a_wrong_rule_does_not_pass(tmp_path, name, right, wrong):
    text = (RULES / f"{name}.yaml").read_text()
    assert right in text
    broken = tmp_path / f"{name}.yaml"
    broken.write_text(text.replace(right, wrong))
    names = [group.name for group in GROUPS[name]]
    assert (
        promtool.run("test", "rules", *promtool.write(tmp_path, broken, names, CASES[name])).returncode != 0
    )


def test_every_alert_is_shown_to_fire_and_to_be_silent():
    cases = [case for each in CASES.values() for case in each]
    by_bound = {promtool.identity(alert) for name in CASES for alert in alerts(GROUPS[name])}
    assert set().union(*(case.fires for case in cases)) == by_bound
    assert set().union(*(case.silent for case in cases)) == by_bound
    by_hand = {alert.name for alert in alerts(GROUPS["conditions"])}
    assert _shown_by_hand("fires") == by_hand
    assert _shown_by_hand("is silent") == by_hand


def test_prometheus_takes_its_configuration():
    done = promtool.run("check", "config", "--syntax-only", DEPLOY / "prometheus.yml")
    assert done.returncode == 0, done.stderr


def test_alertmanager_takes_its_configuration():
    program = shutil.which("amtool")
    done = subprocess.run(
        [program, "check-config", DEPLOY / "alertmanager.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"severity": "page", "alertname": "GatewayFails"}, "on-call"),
        ({"severity": "ticket", "alertname": "GatewayFails"}, "tickets"),
        ({"severity": "ticket", "alertname": "StainDrifts", "feature": "stain"}, "laboratory"),
        ({"severity": "page", "alertname": "AbstentionDrifts", "feature": "abstention"}, "on-call"),
    ],
)
def test_an_alert_goes_to_whom_it_concerns(labels, receiver):
    words = [f"{name}={value}" for name, value in labels.items()]
    program = shutil.which("amtool")
    done = subprocess.run(
        [program, "config", "routes", "test", f"--config.file={DEPLOY / 'alertmanager.yml'}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [receiver], done.stderr
