"""The building blocks of model cards: sections, tables and numbers in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hemaserve.evaluation import metrics
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.metrics import Interval
from training import card_texts as texts
from training.card_texts import ImageSet
from training.results import ClassifierFigures, DetectorFigures, KindFigures, SourceFigures, TrainingRun
from training.scores import ScoreFigures
from training.settings import settings

#: Figures of networks that never saw one of the laboratories: a folder of their own in the results.
LEFT_OUT: Final = "left-out"

#: Of a recipe, what a card says in rows of their own.
_SAID: Final = ("name", "title", "storage")

_DEVICES: Final = {"cpu": "CPU", "cuda": "one GPU"}


def percent(share: float) -> str:
    """A share as a percentage; a dash for a share of nothing (NaN)."""
    return "-" if math.isnan(share) else f"{100 * share:.2f}%"


def percent_with_interval(share: float, interval: Interval) -> str:
    """A share with its 95% interval."""
    return percent(share) if math.isnan(share) else f"{percent(share)} ({_bounds(interval)})"


def limit(value: float | None) -> str:
    """A limit, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def picture(name: str, file: str, title: str) -> str:
    """A link to one of the network's pictures, see `training.report`."""
    return f"![{title}](../../docs/models/{name}/{file}.svg)"


def data(sets: Iterable[tuple[ImageSet, str]], text: str) -> list[str]:
    """The section on image sets, each with what it was used for."""
    rows = [(image_set.title, use, image_set.licence) for image_set, use in sets]
    return ["## Data", table(("Set", "Used for", "Licence of the images"), rows), text]


def training(run: TrainingRun | None, name: str, examples: str) -> list[str]:
    """The section on the training: from the recipe, and how far the run got with it."""
    if run is None:
        return ["## Training", "Not trained yet: an interim file that shows names and shapes."]
    architecture = texts.ARCHITECTURES.get(architecture_of(run, name))
    papers = [paper for start, paper in texts.PAPERS.items() if name.startswith(start)]
    rows = [
        *([("Architecture", architecture)] if architecture else []),
        *(("Recipe after", paper) for paper in papers),
        *_start(run.recipe, name),
        *([("Parameters", f"{run.parameters:,}")] if run.parameters else []),
        ("Large weights stored as", texts.STORAGE[run.recipe.get("storage", "fp16")]),
        ("Epochs", _epochs(run)),
        (f"{examples.capitalize()} per epoch", str(run.crops)),
        (
            "Wall time",
            f"{run.seconds / 60:.0f} min on {_DEVICES[run.device]}, {run.threads} CPU thread{'s'[: run.threads > 1]}",
        ),
        ("Seed", str(run.seed)),
    ]
    recipe = ", ".join(f"{key} {value}" for key, value in run.recipe.items() if key not in _SAID)
    return [
        "## Training",
        table(("", ""), [*rows, *([("Recipe", recipe)] if recipe else [])]),
        picture(name, "curves", "Learning curves"),
    ]


def scores(figures: ScoreFigures) -> str:
    """Precision, recall and F1 of every label that has examples, with bootstrap intervals."""
    matrix = figures.matrix()
    points, intervals = metrics.scores(matrix), metrics.bootstrap_intervals(matrix)
    rows = [
        (
            label.replace("_", " "),
            str(matrix[i].sum()),
            percent_with_interval(float(points.precision[i]), intervals.precision[i]),
            percent_with_interval(float(points.recall[i]), intervals.recall[i]),
            percent_with_interval(float(points.f1[i]), intervals.f1[i]),
        )
        for i, label in enumerate(figures.labels)
        if matrix[i].any()
    ]
    return table(("Label", "n", "Precision", "Recall", "F1"), rows)


def kinds(figures: DetectorFigures) -> str:
    """Each kind's average precision, and precision and recall at its score threshold."""
    rows = [
        (kind, str(f.objects), f"{f.average_precision_50:.3f}", f"{f.score_threshold:.2f}", *_shares(f))
        for kind, f in figures.kinds.items()
    ]
    return table(("Kind", "Objects", "AP50", "Score from", "Precision", "Recall"), rows)


def limits(text: str) -> list[str]:
    """The sections on what the network is for, and on what it is not."""
    return ["## Intended use", texts.RESEARCH, "## Limits", text]


def other_laboratory(figures: ClassifierFigures, *, stranger: bool) -> list[str]:
    """The section on BCCD, of which a `stranger` saw nothing in training."""
    served = "as served, which never saw any of BCCD" if stranger else "as served"
    rows = [(served, source) for source in _bccd(figures)]
    rows += [("the same, trained without any of BCCD", source) for source in _bccd(left_out(figures.name))]
    if not rows:
        return []
    return [
        "## Figures on BCCD, another laboratory",
        table(
            ("Network", "n", "Accuracy", "Accuracy of the identified", "Unidentified", "ECE"),
            [
                (
                    what,
                    str(source.primary.crops),
                    percent_with_interval(source.primary.accuracy, source.primary.accuracy_ci95),
                    percent_with_interval(source.identified_accuracy, source.identified_accuracy_ci95),
                    percent(source.unidentified_share),
                    percent(source.ece),
                )
                for what, source in rows
            ],
        ),
    ]


def home(name: str) -> str:
    """The set whose validation side measures a classifier."""
    return "Mooney" if name.startswith("mooney_") else "PBC"


def left_out(name: str) -> ClassifierFigures | None:
    """The figures of the same network trained without one of the laboratories, where it was."""
    path = settings().results / LEFT_OUT / f"{name}.json"
    return ClassifierFigures.model_validate_json(path.read_text()) if path.exists() else None


def architecture_of(run: TrainingRun | None, name: str) -> str:
    """The architecture of a network: that which its recipe names, or its own name."""
    return name if run is None else run.recipe.get("architecture", name)


def _start(recipe: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """What the weights were before the training, and who else had a say in it."""
    start = recipe.get("start")
    if name in texts.STARTS:
        began = texts.STARTS[name]
    elif "normalisation" not in recipe:
        return []  # a detector, whose start is in its recipe
    elif start:
        frozen = recipe.get("frozen") == "True"
        began = f"`{start}`{', whose body stays as it is: only a new head learns' if frozen else ''}"
    elif smaller := recipe.get("grown_from"):
        began = f"`{smaller}`, made wider and deeper without changing what it says"
    else:
        began = "nothing"
    teacher = recipe.get("teacher")
    return [("Starts from", f"{began}; distilled from `{teacher}`" if teacher else began)]


def _bccd(figures: ClassifierFigures | None) -> list[SourceFigures]:
    return [figures.sources["bccd"]] if figures is not None and "bccd" in figures.sources else []


def _epochs(run: TrainingRun) -> str:
    planned = sum(int(run.recipe.get(key, 0)) for key in ("epochs", "joint_epochs"))
    return f"{run.epochs} of {planned}" if planned and planned != run.epochs else str(run.epochs)


def _shares(figures: KindFigures) -> tuple[str, str]:
    hits = round(figures.recall * figures.objects)
    found = round(hits / figures.precision) if figures.precision else 0
    return (
        percent_with_interval(figures.precision, exact_interval(hits, found)),
        percent_with_interval(figures.recall, exact_interval(hits, figures.objects)),
    )


def _bounds(interval: Interval) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"
