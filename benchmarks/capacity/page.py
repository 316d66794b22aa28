"""docs/scaling.md, its settings and its chart, from the results. `python -m benchmarks.capacity.page`"""

import json
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import yaml

from benchmarks.autoscaling.choosing import BAR, REFUSALS, chosen
from benchmarks.autoscaling.queries import QUERIES
from benchmarks.autoscaling.traces import TRACES
from benchmarks.autoscaling.trying import LEAST, MOST
from benchmarks.capacity.sizing import SHARE, WITHIN_S
from benchmarks.capacity.stack import ROLES, Layout

FOLDER: Final = Path("docs/scaling")
SETTINGS: Final = FOLDER / "autoscaling.yaml"
_TEXT: Final = """\
# How it grows, and what scales it

Written by `python -m benchmarks.capacity.page` from the results in [scaling/](scaling/). A simulation of the stack's
queues, with the services' own schedulers on simulated time
([decision 27](decisions/0027-simulated-time.md)), is fed with service times measured on {machine}.
The commands: `python -m benchmarks.capacity measure`, `python -m benchmarks.capacity predict`,
`python -m benchmarks.autoscaling.queries`, `python -m benchmarks.autoscaling`.

## Against measurements

Errors are the simulation's over what was measured, of loads of {least} to {most} calls. *Others*: the share of the
machine that other work took meanwhile. The median of one caller was fitted; the processor time of a field and what
others took are each run's own; nothing else was. Assumed, not measured: how a service's work is split over its parts,
what a further request in a batch costs, and the time of a message (benchmarks/capacity/profile.py). Largest errors:
{tolerance}. Tails under load are said to be shorter than they are, so leave room for that. Measured before detectors
were limited to two squares a batch, and its open loops at other moments than those that are drawn now.

| Load | Others | Calls a second | Error | p50 ms | Error | p90 ms | Error | p99 ms | Error |
|---|---|---|---|---|---|---|---|---|---|
{compared}

## From 1 to 10,000 fields a second

The fewest pods, all roles equally busy, with which {share:.0%} of the fields are answered within {within:g} s. *Busy*:
how busy cores may be at most. What was not measured: beyond one machine of two cores everything here is the model's
word. From 3,000 fields a second on only seconds are simulated and pods begin their rounds together, which makes the
busy share there, and with it the cores, less certain.

| Fields a second | Cores | Busy | {roles} | p50 ms | p99 ms |
|---|---|---|{rule}---|---|
{sizes}

![Cores and latency against fields a second](scaling/sizes.svg)

## Autoscaling

{traces}

Pods work 15 s (services) or 25 s (Triton) after they were asked for, see `benchmarks/autoscaling/trying.py`; at least
{floor} of each role, at most {ceiling}. The oracle knows the future and has the same start and floor; minute by minute
it keeps the cores of all roles at one load, the highest that keeps the objective. That is not proven to be the least
there is: a better oracle would raise all ratios. *Kept*: share of all fields answered within {within:g} s; a refused
one is not. Hours and dollars are of all traces together.

| Settings | Keeps {share:.0%} on all | Most replica-hours over the oracle's | {names} | Replica-hours | Refused | $ |
|---|---|---|{rule4}---|---|---|
{rows}

Chosen, among those with signals that lead: **{chosen}**, in
[scaling/autoscaling.yaml](scaling/autoscaling.yaml). It keeps the objective on all traces at {ratio:g} times
the oracle's replica-hours at most (bar {bar:g}).

What is deployed is not this yet: [autoscaling-keda](../deploy/k8s/components/autoscaling-keda) scales services by work
in flight and each Triton by what is at work and what waits apart, with numbers that were not simulated.

How far to believe it: each trace was drawn once, with one seed. The bound of {ceiling} replicas, how fast replicas
are added, and the settings that mix signals came after first tries on these same traces, in which work in flight
overshot to twenty replicas when one was lost. No other traces were held back for a check. *Kept* by the chosen
settings is {kept:.2%} on the trace where it is least, near the bar. **The fallback does better here**: {fallback}
keeps at least {fallback_kept:.2%} at {fallback_ratio:g} times the oracle's at most. What waits in Triton alone is a
poor signal: nothing waits until it is too late, and what then waits asks for too much. Percentages of processors are
of the cores that pods have here (1 for gateway and classifier, 2 for the others), not of smaller requests.

## The queries, on a real Prometheus

After {seconds} s of a real stack and {callers} callers with deadlines that not all could keep:

| Signal | Query | Value |
|---|---|---|
{queries}
"""


def page() -> str:
    """The page's text."""
    predicted, scaling, asked, measured = (
        _read(name) for name in ("predicted", "autoscaling", "queries", "measured")
    )
    best = chosen(scaling["rows"])
    holding = [row for row in scaling["rows"] if row["holds"] and row["kind"] == "cpu"]
    fallback = min(holding, key=lambda row: float(row["worst_ratio"]))
    machine = measured["machine"]
    calls = [run["calls"] for run in measured["runs"]]
    return _TEXT.format(
        machine=f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}",
        least=min(calls),
        most=max(calls),
        tolerance=", ".join(f"{name} {value:.0%}" for name, value in tolerance(predicted).items()),
        compared="\n".join(map(_compared, predicted["compared"])),
        share=SHARE,
        within=WITHIN_S,
        roles=" | ".join(ROLES),
        rule="---|" * len(ROLES),
        sizes="\n".join(
            f"| {row['rate']:,} | {row['cores']:,} | {row['load']:.0%} | "
            + " | ".join(str(row["replicas"][role]) for role in ROLES)
            + f" | {row['p50_ms']:.0f} | {row['p99_ms']:.0f} |"
            for row in predicted["sizes"]
        ),
        traces="\n".join(
            f"- *{name}*: {trace.title}, fields a second: {trace.formula}." for name, trace in TRACES.items()
        ),
        floor=LEAST,
        ceiling=MOST,
        names=" | ".join(f"{name}: kept, ratio" for name in TRACES),
        rule4="---|" * len(TRACES),
        rows="\n".join(map(_row, scaling["rows"])),
        chosen=best["name"],
        ratio=best["worst_ratio"],
        bar=BAR,
        kept=min(each["kept"] for each in best["traces"].values()),
        fallback=fallback["name"],
        fallback_kept=min(each["kept"] for each in fallback["traces"].values()),
        fallback_ratio=fallback["worst_ratio"],
        seconds=asked["seconds"],
        callers=48,
        queries="\n".join(
            f"| {row['name']} | `{row['query'].replace('|', chr(92) + '|')}` | {row['value']:.3g} |"
            for row in asked["queries"]
        ),
    )


def tolerance(predicted: dict[str, Any]) -> dict[str, float]:
    """The largest error of each figure, over all loads."""
    found: dict[str, float] = {}
    for row in predicted["compared"]:
        for name, error in row["error"].items():
            found[name.removesuffix("_ms")] = max(found.get(name.removesuffix("_ms"), 0.0), abs(error))
    return found


def _compared(row: dict[str, Any]) -> str:
    unit = "callers" if row["load"] == "closed" else "a second"
    cells = [f"{row['load']}, {row['how_much']:g} {unit}", f"{row['others']:.0%}"]
    for name in ("throughput", "p50_ms", "p90_ms", "p99_ms"):
        known = name in row["measured"]
        cells += [f"{row['measured'][name]:g}", f"{row['error'][name]:+.0%}"] if known else ["-", "-"]
    return f"| {' | '.join(cells)} |"


def _row(row: dict[str, Any]) -> str:
    results = row["traces"].values()
    cells = [row["name"], "yes" if row["holds"] else "**no**", f"{row['worst_ratio']:.2f}"]
    cells += [f"{each['kept']:.2%}, {each['ratio']:.2f}" for each in results]
    cells += [
        f"{sum(each['replica_hours'] for each in results):.0f}",
        f"{max(each['refused'] for each in results):.2%}",
    ]
    cells.append(f"{sum(each['dollars'] for each in results):.2f}")
    return f"| {' | '.join(cells)} |"


def settings() -> dict[str, Any]:
    """What the manifests are to say, by role; signals are named as in `QUERIES`."""
    best = chosen(_read("autoscaling")["rows"])
    found = {}
    for role in ROLES:
        entry = {"least": LEAST, "most": MOST, "calm-seconds": int(best["down_s"])}
        triggers: dict[str, Any] = {"cpu-percent": round(100 * best["load"])}
        if role.startswith("triton"):
            work = QUERIES[f"{role}/busy"] + " + " + QUERIES[f"{role}/queue"]
            triggers = {
                "work": {"query": work, "threshold": round(best["load"] * Layout().roles[role].cores, 2)}
            }
        if role == "gateway":
            triggers["refused"] = {"query": QUERIES["gateway/refused"], "threshold": REFUSALS}
        found[role] = entry | {"triggers": triggers}
    return found


def draw() -> None:
    """The chart of cores and latency."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "scaling"
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the backend is chosen

    rows = _read("predicted")["sizes"]
    rates = [row["rate"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    left.loglog(rates, [row["cores"] for row in rows], "o-", label="cores in pods")
    left.loglog(rates, [row["cores_busy"] for row in rows], "--", label="cores at work")
    right.semilogx(rates, [row["p50_ms"] for row in rows], "o-", label="p50")
    right.semilogx(rates, [row["p99_ms"] for row in rows], "s-", label="p99")
    right.axhline(1000 * WITHIN_S, color="grey", linewidth=0.8)
    left.set_ylabel("cores")
    right.set_ylabel("latency, ms")
    for axes in (left, right):
        axes.set_xlabel("fields a second")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(FOLDER / "sizes.svg", metadata={"Date": None})
    plt.close(figure)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    Path("docs/scaling.md").write_text(page(), encoding="utf-8")
    text = "# Written by `python -m benchmarks.capacity.page`, see docs/scaling.md. Edits are lost.\n"
    SETTINGS.write_text(text + yaml.safe_dump(settings(), sort_keys=False, width=110), encoding="utf-8")
    draw()


if __name__ == "__main__":
    main()
