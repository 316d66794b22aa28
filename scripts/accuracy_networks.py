"""docs/networks.md: all networks, and the recipes of papers, in one table and on one chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy_charts import Chart
from accuracy_measurements import LEFT_OUT, MOONEY, PRESETS, Document, Results, load_document
from accuracy_words import NOT_MEASURED, marked, percent, table

from hemaserve.unshipped import UNSHIPPED
from training.__main__ import Network

NETWORK, PRESET, ENSEMBLE = "network", "preset", "ensemble"
GROUPS = (NETWORK, ENSEMBLE, PRESET)

INTRODUCTION = """\
# The networks side by side

Research and verification use only; not a medical device. Written by `scripts/accuracy.py` from the JSON files in
[docs/accuracy](accuracy/) and [training/results](../training/results/). What each figure means, its caveats, and how
the networks of this repository do in detail: [accuracy.md](accuracy.md).

- **Networks** are in this repository, made by its [factory](../training/README.md), and can be named in requests.
- **Ensembles** vote; their members run side by side.
- **Presets** repeat the recipes of published papers on the same images, to compare with. They are not kept.

"""

NOT_RUN = """
## Not run

Their recipes are in the factory, each with a command of its own, and nothing is known of them here:

"""

READING = """\
## How to read it

- *PBC* is measured through the running services, each image sent the way of a field; limits are exact
  (Clopper-Pearson) 95%. *Offline* figures are the factory's own, on the machine that trained the network, with limits
  by bootstrap; crops were stored there as WebP at quality 80 and enlarged for networks that take more than 128 px.
- *bccd, never seen* is the factory's own offline measurement and did not go through the services: the labelled white
  cells, cut out by their labels. Networks and ensembles that learned from bccd are measured by a twin from the same
  factory that was trained without any image of it; the others, and presets, never see any. Limits are bootstrap 95%.
  *n* is the number of cells.
- *Parameters* are those that training adjusted; an ensemble has its members'.
- *Crops/s* are of batches through Triton on the CPU named below{presets}.
"""
_SAW_IT = """- {names}: not measured on bccd, because a member learned from it and its twin that did not is gone.
"""
_PRESETS_APART = (
    "; those of presets in a run of their own, by untrained files of the same networks, which take as long"
)


@dataclass(frozen=True)
class Accuracy:
    """A share of right best guesses, its 95% interval, how many cells it is of, and whether services were asked."""

    share: float
    interval: tuple[float, float]
    n: int
    offline: bool = False

    @property
    def shown(self) -> str:
        return percent(self.share, self.interval)


@dataclass(frozen=True)
class Compared:
    """What is known of one network; None where it was not measured.

    Attributes:
        group: network, preset or ensemble.
        left_out: on bccd, by the network or its twin that has never seen any of it.
        parameters: how many are trained.
        speed: what `benchmarks/crops_per_second.py` said of it.
    """

    name: str
    group: str
    pbc: Accuracy | None
    five_types: Accuracy | None
    left_out: Accuracy | None
    parameters: int | None
    speed: Document | None

    @property
    def crops_per_second(self) -> float | None:
        return None if self.speed is None else float(self.speed["crops_per_second"])


def networks(served: Results, presets: Results, training: Path) -> list[Compared]:
    """Every classifier that is known of: networks and ensembles first, then presets, each by name."""
    found = [
        _network(model, served, training) for model in served.models if model["task"] == "classification"
    ]
    trained = {path.stem for path in (training / PRESETS).glob("*.json")}
    names = sorted(name for name in {*presets.classifiers, *trained} if not name.startswith(MOONEY))
    return sorted(found, key=lambda each: (GROUPS.index(each.group), each.name)) + [
        _preset(name, presets, training) for name in names
    ]


def _network(model: Document, results: Results, training: Path) -> Compared:
    name, members = model["name"], model.get("members") or []
    parameters = [_parameters(training / f"{each}.json") for each in members or [name]]
    known = [count for count in parameters if count is not None]
    return Compared(
        name,
        ENSEMBLE if members else NETWORK,
        *_on_pbc(name, results),
        _on_bccd(training / LEFT_OUT / f"{name}.json") or _never_seen(training / f"{name}.json"),
        sum(known) if len(known) == len(parameters) else None,
        results.speed.get("networks", {}).get(name),
    )


def _preset(name: str, results: Results, training: Path) -> Compared:
    path = training / PRESETS / f"{name}.json"
    speed = results.speed.get("networks", {}).get(name)
    eight, five = _on_pbc(name, results)
    offline = _accuracy((load_document(path) or {}).get("primary"), "crops", offline=True)
    return Compared(name, PRESET, eight or offline, five, _on_bccd(path), _parameters(path), speed)


def _on_pbc(name: str, results: Results) -> tuple[Accuracy | None, Accuracy | None]:
    eight, five = (results.get(f"{kind}-{name}") for kind in ("cells", "cells-five-types"))
    return _accuracy(eight, "n"), _accuracy(five, "n")


def _on_bccd(path: Path) -> Accuracy | None:
    source = ((load_document(path) or {}).get("sources") or {}).get("bccd")
    return _accuracy(None if source is None else source["primary"], "crops", offline=True)


def _never_seen(path: Path) -> Accuracy | None:
    """On bccd by the network itself, where it has never seen any of it."""
    source = ((load_document(path) or {}).get("sources") or {}).get("bccd") or {}
    return _on_bccd(path) if source.get("never_seen") else None


def _accuracy(document: Document | None, n: str, *, offline: bool = False) -> Accuracy | None:
    if document is None:
        return None
    low, high = document["accuracy_ci95"]
    return Accuracy(document["accuracy"], (low, high), document[n], offline)


def _parameters(path: Path) -> int | None:
    """Of a network, as its training noted; older files do not have it."""
    return ((load_document(path) or {}).get("training") or {}).get("parameters") or None


def networks_page(
    compared: Sequence[Compared], chart: Chart | None, served: Results, presets: Results
) -> str:
    """The page, of whatever was measured."""
    rows = [
        [
            marked(each.name, served.default_classifier if each.group != PRESET else None),
            each.group,
            *(_shown(accuracy) for accuracy in (each.pbc, each.five_types)),
            NOT_MEASURED if each.left_out is None else f"{each.left_out.shown} of {each.left_out.n}",
            NOT_MEASURED if each.parameters is None else f"{each.parameters / 1e6:.2f}",
            *(
                [NOT_MEASURED] * 2
                if each.speed is None
                else [f"{each.speed['file_mb']:.1f}", f"{each.speed['crops_per_second']:.0f}"]
            ),
        ]
        for each in compared
    ]
    header = [
        *("Name", "What", "PBC, 8 types", "PBC, 5 types", "bccd, never seen (offline)"),
        *("Parameters, millions", "MB", "Crops/s"),
    ]
    shown = "" if chart is None else f"\n![{chart.title}](accuracy/{chart.name})\n"
    speeds = "".join(_speed_line(name, group) for name, group in (("Networks", served), ("Presets", presets)))
    reading = READING.format(presets=_PRESETS_APART if presets.speed else "")
    saw_it = [f"`{each.name}`" for each in compared if each.group == ENSEMBLE and each.left_out is None]
    if saw_it:
        reading += _SAW_IT.format(names=", ".join(saw_it))
    return (
        INTRODUCTION
        + table(header, rows)
        + shown
        + "\n"
        + reading
        + (f"\n{speeds}" if speeds else "")
        + _not_run(compared)
    )


def _not_run(compared: Sequence[Compared]) -> str:
    """The presets that nothing was measured of, and the networks that are not shipped."""
    known = {each.name for each in compared}
    presets = [
        f"- `HEMASERVE_RESULTS=training/results/presets python -m training run {name}`"
        for name in sorted(Network)
        if name.is_to_compare and not name.startswith(MOONEY) and name not in known
    ]
    unshipped = [
        f"- `{each.command}`: {each.title} is not shipped, because {each.reason}."
        for each in UNSHIPPED.values()
        if each.name not in known
    ]
    return NOT_RUN + "\n".join([*presets, *unshipped]) + "\n" if presets or unshipped else ""


def _shown(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return NOT_MEASURED
    return f"{accuracy.shown} of {accuracy.n}{', offline' if accuracy.offline else ''}"


def _speed_line(name: str, results: Results) -> str:
    speed = results.speed
    if not speed:
        return ""
    return (
        f"- {name}: {speed['date']}, {speed['cores']} cores ({speed['cpu']}), median of {speed['rounds']} rounds of "
        f"{speed['seconds']:g} s.\n"
    )
