"""docs/scaling.md, its chart, and the autoscaling manifests, from the results. `python -m benchmarks.capacity.page`"""

import json
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

from benchmarks.autoscaling.choosing import BAR, KEDA, OTHER_SEEDS, chosen
from benchmarks.autoscaling.manifests import written
from benchmarks.autoscaling.traces import TRACES
from benchmarks.autoscaling.trying import LEAST, MOST
from benchmarks.capacity.profile import load_measured, profile_of
from benchmarks.capacity.sizing import SHARE, WITHIN_S
from benchmarks.capacity.stack import ROLES

FOLDER: Final = Path("docs/scaling")
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
one is not. Every trace was drawn with {seeds} seeds; each figure is the worst of them. Hours and dollars are of all
traces together. Percentages of processors are of the cores that pods have here (1 for gateway and classifier, 2 for the
others), not of what they request: nodes need room for them.

| Settings | Keeps {share:.0%} on all | Most replica-hours over the oracle's | {names} | Replica-hours | Refused | $ |
|---|---|---|{rule4}---|---|---|
{rows}

Chosen, of those that keep the objective, with the fewest replica-hours over the oracle's, and of equals with most kept:

- **{chosen}**,
  in [autoscaling-keda](../deploy/k8s/components/autoscaling-keda/scaling.yaml): {kept:.2%} at least, at {ratio:.2f}
  times the oracle's replica-hours at most (bar {bar:g}).
- **{fallback}**, in [autoscaling-hpa](../deploy/k8s/components/autoscaling-hpa/scaling.yaml):
  {fallback_kept:.2%} at least, at {fallback_ratio:.2f} times at most.

The least of both is on the trace *lost*, where {fixed_lost:.2%} are kept without autoscaling too: that is the loss
itself. Both files are written from this table. Which to take:

- **Without GPUs the plain HPA is enough**: it keeps the objective, with {fallback_hours:.0f} replica-hours and not
  {hours:.0f}, and needs neither KEDA nor Prometheus. What KEDA adds is the same HPA with two signals more that lead:
  work that waits in Triton brings another one before processors tell, so that on the trace *burst* {lead_kept:.2%} are
  kept and not {lag_kept:.2%}. Where Prometheus is there anyway, as with `overlays/cpu-production`, that is cheap.
- **With GPUs take KEDA.** There processors say little of how busy Triton is; its work does. `overlays/gpu-production`
  takes it as at 70% load, which the table has a row of, for one instance of each network. That was not simulated on
  GPUs, whose times were not measured.
- **Refusals** tell of a door that is full although processors are not. The simulated gateways have no such door, so
  that here refusals change little: {hours:.1f} replica-hours with them, {unrefused_hours:.1f} without, and nothing kept
  more. `overlays/cpu-production` lets more fields into each gateway than its core can carry, so that there too
  processors are what is short first.

What waits in Triton alone is a poor signal: nothing waits until it is too late, and what then waits asks for too much.
Work in flight before Triton is one too: who calls counts what waits at those whom it calls, and grows with them.

How far to believe it: the bound of {ceiling} replicas, how fast replicas are added, and the settings that mix signals
came after first tries on these same traces. The shapes of the traces are ours, and none was held back; with {others}
other draws of them the two chosen ones keep {checked}. A request that Triton runs in a batch
counts for its batch's whole time, which the simulation does not have: with batches, Tritons come sooner than here.

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
    best, fallback = (chosen(scaling["rows"], kinds) for kinds in (KEDA, ("cpu",)))
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
        seeds=scaling["seeds"],
        chosen=best["name"],
        ratio=best["worst_ratio"],
        bar=BAR,
        kept=_kept(best),
        fallback=fallback["name"],
        fallback_kept=_kept(fallback),
        fallback_ratio=fallback["worst_ratio"],
        lead_kept=best["traces"]["burst"]["kept"],
        lag_kept=fallback["traces"]["burst"]["kept"],
        fixed_lost=next(row for row in scaling["rows"] if row["kind"] == "fixed")["traces"]["lost"]["kept"],
        hours=_hours(best),
        fallback_hours=_hours(fallback),
        unrefused_hours=_hours(_without_refusals(scaling["rows"], best)),
        others=len(OTHER_SEEDS),
        checked=" and ".join(f"{min(each.values()):.2%}" for each in scaling["checked"].values()),
        seconds=asked["seconds"],
        callers=asked["callers"],
        queries="\n".join(
            f"| {row['name']} | `{row['query'].replace('|', chr(92) + '|')}` | {row['value']:.3g} |"
            for row in asked["queries"]
        ),
    )


def _kept(row: dict[str, Any]) -> float:
    """The least of all traces."""
    return float(min(each["kept"] for each in row["traces"].values()))


def _hours(row: dict[str, Any]) -> float:
    """Replica-hours of all traces together."""
    return float(sum(each["replica_hours"] for each in row["traces"].values()))


def _without_refusals(rows: list[dict[str, Any]], best: dict[str, Any]) -> dict[str, Any]:
    """The row of the same settings that do not see them."""
    (found,) = (
        row
        for row in rows
        if all(row[name] == best[name] for name in ("kind", "load", "down_s")) and not row["refusals"]
    )
    return found


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
        f"{_hours(row):.0f}",
        f"{max(each['refused'] for each in results):.2%}",
    ]
    cells.append(f"{sum(each['dollars'] for each in results):.2f}")
    return f"| {' | '.join(cells)} |"


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
    for path, text in written(profile_of(load_measured()), _read("autoscaling")["rows"]).items():
        path.write_text(text, encoding="utf-8")
    draw()


if __name__ == "__main__":
    main()
