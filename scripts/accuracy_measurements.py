"""What is measured for docs/accuracy.md: which `hemaserve evaluate` commands, for which networks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

DATA = "$HEMASERVE_DATA"
RUNS = "$HEMASERVE_RUNS"
"""The factory's folder for what it makes on the way; `mooney/{original,random}/val` in it are images cut anew there."""

FIVE_TYPES = "neutrophil,lymphocyte,monocyte,eosinophil,basophil"
SITE_PROFILE = "bccd"
"""Name of the profile that `hemaserve adapt $HEMASERVE_DATA/bccd/train/images --name bccd` writes."""

LEFT_OUT = "left-out"
"""Label of the networks that were trained without any image of bccd; their figures lie in a folder of this name."""

PRESETS = "presets"
"""Label of the networks that were trained by the recipes of published papers, and are not kept; likewise."""

MOONEY = "mooney_"
"""How names of networks for the four types of the mooney set begin; they end in how that set was split."""

NETWORK = "NETWORK"
"""Stands for a network's name where a command is shown once for several."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One run of `hemaserve evaluate`, or a part of one that asks several networks.

    Attributes:
        pattern: of the name of its JSON file, with `{model}` for the network.
        what: cells, detections, fields or screen.
        folder: below `root`.
        options: further arguments.
        model: the network that is asked; None for the default ones.
        root: the folder with the images, as the environment names it.
    """

    pattern: str
    what: str
    folder: str
    options: tuple[str, ...] = ()
    model: str | None = None
    root: str = DATA

    @property
    def name(self) -> str:
        """Of its JSON file."""
        return self.pattern.format(model=self.model)

    @property
    def shown(self) -> str:
        """The command as anybody would type it, the same for all networks."""
        models = () if self.model is None else (NETWORK,)
        json_file = f"{self.pattern.format(model=NETWORK)}.json"
        return " ".join(["hemaserve", *self.command(self.root, json_file, models)])

    def command(self, root: str, json_file: str, models: Sequence[str]) -> list[str]:
        """The command's arguments.

        Args:
            root: the folder with the images, as it is called on this machine.
            models: the networks to ask.
        """
        named = [word for model in models for word in ("--model", model)]
        return ["evaluate", self.what, f"{root}/{self.folder}", *self.options, *named, "--json", json_file]


def together(chosen: Iterable[Measurement]) -> list[list[Measurement]]:
    """Measurements that one command can make: cells are found once, and named by several networks."""

    def command(measurement: Measurement) -> tuple[str, str | None]:
        return measurement.shown, None if measurement.what == "cells" else measurement.model

    return [list(group) for _, group in groupby(chosen, command)]


def named(models: Sequence[Document], task: str) -> list[str]:
    """Names of the models of a task, the default one last, as the result that the others lead up to."""
    chosen = [model for model in models if model["task"] == task]
    return [model["name"] for model in sorted(chosen, key=lambda model: bool(model["is_default"]))]


def default_of(models: Sequence[Document], task: str) -> str | None:
    """Name of the model that serves where a request names none."""
    return next((m["name"] for m in models if m["task"] == task and m["is_default"]), None)


def measurements(models: Sequence[Document], label: str | None) -> list[Measurement]:
    """All that there is to measure of a stack with these models.

    Args:
        label: None for the networks that are in the model repository, `LEFT_OUT` for those trained without bccd,
            `PRESETS` for those trained by the recipes of papers.
    """
    by_label = {None: _of_default, LEFT_OUT: _of_left_out, PRESETS: _of_presets}
    return list(by_label[label](models))


def _of_default(models: Sequence[Document]) -> Iterator[Measurement]:
    for name in named(models, "detection"):
        yield Measurement("detections-{model}", "detections", "smear_fields", ("--split", "val"), name)
    classifiers = named(models, "classification")
    yield from _of_pbc(classifiers)
    for name in classifiers:
        yield Measurement("fields-{model}", "fields", "bccd/val", (), name)
    if named(models, "screen_field"):
        yield Measurement("screen", "screen", "leukemia/val")


def _of_pbc(classifiers: Sequence[str]) -> Iterator[Measurement]:
    for name in classifiers:
        yield Measurement("cells-{model}", "cells", "pbc/val", ("--finer", "prefix"), name)
    for name in classifiers:
        yield Measurement("cells-five-types-{model}", "cells", "pbc/val", ("--types", FIVE_TYPES), name)


def _of_left_out(models: Sequence[Document]) -> Iterator[Measurement]:
    names = named(models, "classification")
    for name in names:
        yield Measurement("fields-{model}", "fields", "bccd/val", (), name)
    # These networks have seen nothing of bccd: its training side is as good a stranger, and four times as large.
    for name in names:
        yield Measurement("fields-{model}-train", "fields", "bccd/train", (), name)
    for name in names:
        profile = ("--site-profile", SITE_PROFILE)
        yield Measurement("fields-{model}-profile", "fields", "bccd/val", profile, name)


def _of_presets(models: Sequence[Document]) -> Iterator[Measurement]:
    names = named(models, "classification")
    yield from _of_pbc([name for name in names if not name.startswith(MOONEY)])
    # Its images are whole photographs of one cell, which are named as such.
    for name in (name for name in names if name.startswith(MOONEY)):
        split = name.rpartition("_")[-1]
        yield Measurement("cells-{model}", "cells", f"mooney/{split}/val", ("--whole",), name, RUNS)


@dataclass(frozen=True)
class Results:
    """The figures of one stack: what lies in docs/accuracy, or in its folders `left-out` and `presets`.

    Attributes:
        models: the stack's models; empty when nothing was measured.
        documents: the measurements that there are, by name.
        speed: what `benchmarks/crops_per_second.py` wrote, by network; empty when it was not run.
    """

    models: tuple[Document, ...]
    documents: dict[str, Document]
    measured: tuple[Measurement, ...]
    speed: Document

    def get(self, name: str) -> Document | None:
        return self.documents.get(name)

    @property
    def classifiers(self) -> list[str]:
        return named(self.models, "classification")

    @property
    def detectors(self) -> list[str]:
        return named(self.models, "detection")

    @property
    def default_classifier(self) -> str | None:
        return default_of(self.models, "classification")

    @property
    def default_detector(self) -> str | None:
        return default_of(self.models, "detection")


def read_results(folder: Path, label: str | None = None) -> Results:
    """The figures in a folder, as far as they are there.

    Raises:
        SystemExit: a file is of an evaluation that was stopped early, or of other networks than `models.json`.
    """
    models = (load_document(folder / "models.json") or {"models": []})["models"]
    measured = measurements(models, label)
    found = {m.name: document for m in measured if (document := load_document(folder / f"{m.name}.json"))}
    for name, document in found.items():
        _check_networks(name, document["provenance"], models)
    speed = load_document(folder / "speed.json") or {}
    for source in speed.get("networks", {}).values():
        _check_digests("speed", source["sources"], models)
    # Presets are not kept; with weights at random they take as long.
    speed = speed or load_document(folder / "speed-untrained.json") or {}
    return Results(tuple(models), found, tuple(m for m in measured if m.name in found), speed)


def load_document(path: Path, *, whole: bool = True) -> Document | None:
    """The figures in a file; None when there is none.

    Args:
        whole: whether they must be of all images.

    Raises:
        SystemExit: they must, and are not, because the evaluation was stopped early.
    """
    if not path.is_file():
        return None
    document = dict(json.loads(path.read_text(encoding="utf-8")))
    if whole and document.get("partial"):
        raise SystemExit(f"{path.name} is partial: measure it again, or delete it")
    return document


def _check_networks(name: str, provenance: Document, models: Sequence[Document]) -> None:
    """Figures of an older network must not stand beside the digests of today's."""
    single = (provenance[role] for role in ("detector", "classifier") if provenance.get(role) is not None)
    several = (source for role in ("members", "screens") for source in provenance.get(role) or [])
    _check_digests(name, {s["name"]: s["sha256"] for s in (*single, *several)}, models)


def _check_digests(name: str, sources: dict[str, str], models: Sequence[Document]) -> None:
    digests = {model["name"]: model["source"]["sha256"] for model in models}
    for source, digest in sources.items():
        if digests.get(source) != digest:
            raise SystemExit(
                f"{name}.json is of another {source} than models.json: measure it again, or delete it"
            )
