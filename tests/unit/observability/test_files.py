"""What is written from the specifications is current, uses declared signals only, and leads to runbooks."""

import json
import re
from itertools import chain
from pathlib import Path

import promql_parser
import pytest
import yaml

from observability.dashboards import DASHBOARDS
from observability.files import DEPLOY, groups, read, rule_files, stale, write
from observability.grafana import dashboard_files
from observability.page import load_recorded, stale_pages
from observability.record import asked
from observability.rules import Alert, Record, alerts
from observability.signals import SCRAPED, signal_of
from observability.windows import Scale

RUNBOOKS = DEPLOY.parents[1] / "docs" / "runbooks"
TOLD = read()
GROUPS = list(chain.from_iterable(groups(TOLD).values()))
ALERTS = list(alerts(GROUPS))
RECORDED = {
    rule.name: {*rule.labels, "feature"}
    for group in GROUPS
    for rule in group.rules
    if isinstance(rule, Record)
} | {"ALERTS": {"alertname", "alertstate", "severity", "service", "slo"}}
HEADINGS = ["## What it means", "## See it", "## Do", "## Escalate"]


def _selectors(expression):
    """Series that an expression selects, each with the labels that it selects by, and those that it groups by."""
    found, grouped = [], set()

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, {one.name for one in node.matchers.matchers}))
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found, grouped


def undeclared(expression):
    """What an expression uses and nobody declares."""
    problems, known = [], set(SCRAPED)
    found, grouped = _selectors(expression)
    for name, labels in found:
        if name in RECORDED:
            allowed = set(RECORDED[name])
        elif (signal := signal_of(name)) is not None:
            allowed = {*signal.labels, *SCRAPED} | ({"le"} if name.endswith("_bucket") else set())
        else:
            problems.append(name)
            continue
        known |= allowed
        problems += [f"{name}: {label}" for label in labels - allowed]
    return problems + [f"by {label}" for label in grouped - known]


@pytest.mark.parametrize(
    ("folder", "files"),
    [("rules", rule_files(TOLD)), ("dashboards", dashboard_files())],
    ids=["rules", "dashboards"],
)
def test_what_is_committed_is_what_is_written(folder, files):
    assert not stale(DEPLOY / folder, files), "run python -m observability"


def test_pages_and_pictures_show_what_was_recorded():
    assert not stale_pages(TOLD, load_recorded()), "run python -m observability"


def test_every_query_of_today_was_asked_of_a_real_prometheus():
    recorded = load_recorded()
    assert recorded["asked"] == asked()
    assert {name: counts.keys() for name, counts in recorded["shown"].items()} == {
        name: queries.keys() for name, queries in recorded["asked"].items()
    }
    assert recorded["empty"] == []


def test_stale_files_are_found_and_replaced(tmp_path):
    files = {"a.yaml": "a\n", "b.yaml": "b\n"}
    write(tmp_path, {"a.yaml": "old\n", "c.yaml": "c\n"})
    assert stale(tmp_path, files) == ["a.yaml", "b.yaml", "c.yaml"]
    write(tmp_path, files)
    assert not stale(tmp_path, files)
    assert not (tmp_path / "c.yaml").exists()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_rules_use_declared_signals_and_their_labels_only(group):
    assert [problem for rule in group.rules for problem in undeclared(rule.expression)] == []


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_dashboards_use_declared_signals_and_their_labels_only(dashboard):
    queries = [query.over("5m") for panel in dashboard.panels for query in panel.queries]
    assert [problem for query in queries for problem in undeclared(query)] == []


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
def test_legends_name_labels_that_their_queries_keep(dashboard):
    for panel in dashboard.panels:
        for query in panel.queries:
            named = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
            _, grouped = _selectors(query.over("5m"))
            assert not grouped or named <= grouped, f"{panel.title}: {named - grouped}"


def test_what_nobody_declares_is_found():
    assert undeclared("rate(hemaserve_nonsense_total[5m])") == ["hemaserve_nonsense_total"]
    assert undeclared('sum by (colour) (hemaserve_ready{shape="round"})') == [
        "hemaserve_ready: shape",
        "by colour",
    ]


@pytest.mark.parametrize("name", sorted({alert.name for alert in ALERTS}))
def test_an_alert_has_a_runbook_that_says_what_to_do(name):
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == HEADINGS
    assert re.search(r"^1\. ", text, re.MULTILINE), "the first step"
    shown = re.findall(r"```promql\n(.+?)\n```", text, re.DOTALL)
    inline = [
        code
        for code in re.findall(r"`([^`\n]+)`", text)
        if code.startswith(("sum", "rate", "histogram_quantile", "hemaserve_", "nv_", "process_"))
    ]
    assert shown
    assert [problem for query in [*shown, *inline] for problem in undeclared(query)] == []


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_a_runbook_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_no_runbook_is_of_an_alert_that_is_gone():
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == {alert.name for alert in ALERTS}


def test_alerts_link_where_they_are_told_to():
    text = rule_files(TOLD, runbooks="https://example.org/runbooks")["gateway.yaml"]
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["annotations"]["runbook_url"] for rule in rules} == {
        f"https://example.org/runbooks/{rule['alert']}.md" for rule in rules
    }


def test_no_two_rules_are_told_apart_by_nothing():
    told = [
        (rule.name, tuple(sorted((rule.all_labels if isinstance(rule, Alert) else rule.labels).items())))
        for group in GROUPS
        for rule in group.rules
    ]
    assert len(told) == len(set(told))


def test_a_scale_changes_windows_and_no_names():
    (usual, scaled) = (
        [rule for group in chain.from_iterable(groups(TOLD, scale).values()) for rule in group.rules]
        for scale in (Scale(), Scale(120))
    )
    assert [rule.name for rule in usual] == [rule.name for rule in scaled]
    assert any("[30s]" in rule.expression for rule in scaled)
    assert not any("[1h]" in rule.expression for rule in scaled if rule.name.startswith("hemaserve:sli"))


@pytest.mark.parametrize(("name", "text"), dashboard_files().items())
def test_a_dashboard_can_be_imported(name, text):
    document = json.loads(text)
    panels = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert document["uid"] == f"hemaserve-{Path(name).stem}"
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]
        assert panel["description"], panel["title"]
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert len({(place["x"], place["y"]) for place in places}) == len(places)
