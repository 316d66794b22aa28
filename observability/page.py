"""docs/observability.md, docs/runbooks/README.md and the pictures, from specifications and what was recorded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from observability import pictures
from observability.dashboards import DASHBOARDS
from observability.files import ROOT, Specifications, groups
from observability.rules import RUNBOOKS, alerts
from observability.windows import BURNS, PERIOD, duration

DOCS: Final = ROOT / "docs"
RECORDED: Final = DOCS / "observability"

_WRITTEN: Final = (
    "Written by `python -m observability`; change `deploy/observability/slos/`, or `observability/page.py`."
)

_BEGIN: Final = """\
# Promises, alerts and dashboards

{written}

What services tell of themselves is in [telemetry](telemetry.md); this page is about what is made of it. For whoever
is woken: [runbooks](runbooks/README.md), a page for each alert.

## Run it

```sh
hemaserve up --ready-file ready.json
python -m observability.local ready.json       # Prometheus, with all rules; http://127.0.0.1:9090/alerts
```

Elsewhere: `deploy/observability/rules/*.yaml` are Prometheus' rule files, `dashboards/*.json` are imported into
Grafana, `prometheus.yml` and `alertmanager.yml` are examples. Rules and dashboards tell services apart by the label
`job`, which is `gateway`, `detector`, `classifier` or `triton`. Error budgets look back 30 days: keep data for 35,
with `--storage.tsdb.retention.time=35d`. Alerts link to `{runbooks}/NAME.md`; `python -m observability --runbooks
URL` writes them with the address where your people find those pages.

Prometheus is a program of its own: `apt-get install prometheus` (2.42 or newer). The tests of rules use it and its
`promtool`; where it is missing they fail in CI, and are skipped elsewhere.
"""

_PROMISES: Final = """\
## Promises

Each has an error budget for 30 days. An alert says that it burns too fast, over a long window and still so over a
short one, which ends the alert soon after its cause ("The Site Reliability Workbook", chapter 5). With fewer bad
events than a promise's least (3, where nothing else is said) there is no alert: at night one bad call among four is a
large share, and says little.
"""

_DRIFT: Final = """\
## Drift

What was usual is recorded in `deploy/observability/baseline.json`; what is seen now is compared with it. The
population stability index of shares p now and q then is the sum of (p - q) ln(p / q); above 0.25 it is called a
substantial change (Siddiqi, "Credit Risk Scorecards", 2006). Without any drift it is about (1/n + 1/m) times a
chi-squared variable (Yurdakul, 2018), n and m being the numbers of values, so an alert needs so many values that
chance is no explanation. Total variation, for shares of two kinds, is by how much either share changed.

The committed baseline is of {of}, on {date}, and stands for no laboratory: **record your own** when your stain,
scanner and networks are verified, over some weeks, and write the rules anew.

```sh
python -m observability.record_baseline --prometheus http://127.0.0.1:9090 --over 14d --of "our smears of May, verified"
python -m observability
```
"""

_PANELS: Final = """\
## Dashboards

{count} panels in {dashboards} dashboards. Every query was asked of a real Prometheus that scraped a real stack under
load (`{command}`, {date}, {cpu}, {cores} cores); all showed something, but for those that tell of what went wrong
when nothing had. The shaded time is a fault: the processes of `{network}` were stopped for most of it.
"""


def write_pages(told: Specifications, recorded: Mapping[str, Any]) -> None:
    """Write the pages and draw the pictures."""
    for path, text in _files(told, recorded).items():
        path.write_text(text, encoding="utf-8")
    pictures.draw(RECORDED, recorded)


def stale_pages(told: Specifications, recorded: Mapping[str, Any]) -> list[str]:
    """Names of pages and pictures that are missing or not current."""
    late = [
        path.name
        for path, text in _files(told, recorded).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    return late + pictures.stale(RECORDED, recorded)


def _files(told: Specifications, recorded: Mapping[str, Any]) -> dict[Path, str]:
    return {DOCS / "observability.md": _page(told, recorded), DOCS / "runbooks" / "README.md": _index(told)}


def load_recorded(path: Path = RECORDED / "panels.json") -> dict[str, Any]:
    """What `python -m observability.record` wrote."""
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return recorded


def _page(told: Specifications, recorded: Mapping[str, Any]) -> str:
    panels = _PANELS.format(
        count=sum(len(dashboard.panels) for dashboard in DASHBOARDS),
        dashboards=len(DASHBOARDS),
        network=recorded["slow"]["network"],
        **{key: recorded[key] for key in ("command", "date", "cpu", "cores")},
    )
    shown = [f"![{names}](observability/{name})\n" for name, names in pictures.names().items()]
    return "\n".join(
        [
            _BEGIN.format(written=_WRITTEN, runbooks=RUNBOOKS),
            _PROMISES,
            _table(
                ["Service", "Promise", "Why", "Alert"],
                [
                    [service.service, slo.promise, slo.why, _link(slo.alert, "runbooks/")]
                    for service in told.services
                    for slo in service.slos
                ],
            ),
            _table(
                ["Burns", "over", "and still over", "of the budget, so far", ""],
                [
                    [
                        f"{burn.factor:g} times too fast",
                        duration(burn.long_s),
                        duration(burn.short_s),
                        f"{burn.factor * burn.long_s / PERIOD:.0%}",
                        burn.severity,
                    ]
                    for burn in BURNS
                ],
            ),
            _DRIFT.format(of=told.baseline.of, date=told.baseline.date),
            _table(
                ["Feature", "Over", "Least values", "Limits", "Why", "Alert"],
                [
                    [
                        one.feature,
                        duration(one.window_s),
                        str(one.least_events),
                        ", ".join(f"{limit:g} ({severity})" for severity, limit in one.limits.items()),
                        one.why,
                        _link(one.alert, "runbooks/"),
                    ]
                    for one in told.drift.features
                ],
            ),
            panels,
            *shown,
        ]
    )


_INDEX: Final = """\
# Runbooks

{written}

One page for each alert: what it means, how to see it, what to do, when to escalate.

Before anything else: **is anybody waiting?** Results are preliminary and late ones are right ones; a laboratory that
must go on counts by microscope. Never make an alert silent by raising its limit.

* Where to look: Grafana, *HemaServe: overview* first; Prometheus, for the queries on these pages; `kubectl -n
  hemaserve get pods`, or `hemaserve health` on one machine; `kubectl -n hemaserve logs deploy/NAME`, one JSON object
  a line.
* `page` wakes somebody; `ticket` is for the next working day.
* The labels of an alert say what it is about: `service` and `slo` name the promise, `job` the service, `window` over
  how long, `feature` what drifts.
* Roles: the *developers*, the *platform's on-call* (machines, Kubernetes), the *owner of the models*, the
  *laboratory's lead*, the *security team*. Write their numbers here: ______
"""


def _index(told: Specifications) -> str:
    seen: dict[tuple[str, str], list[str]] = {}
    for rule in alerts(group for each in groups(told).values() for group in each):
        summaries = seen.setdefault((rule.name, rule.severity), [])
        if rule.summary not in summaries:
            summaries.append(rule.summary)
    rows = [
        [_link(name, ""), severity, " ".join(summaries)]
        for (name, severity), summaries in sorted(seen.items())
    ]
    return "\n".join([_INDEX.format(written=_WRITTEN), _table(["Alert", "", "Says"], rows)])


def _link(alert: str, folder: str) -> str:
    return f"[{alert}]({folder}{alert}.md)"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
