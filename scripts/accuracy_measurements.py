"""What is measured for docs/accuracy.md: which `hemaserve evaluate` commands, for which networks."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = "$HEMASERVE_DATA"
FIVE_TYPES = "neutrophil,lymphocyte,monocyte,eosinophil,basophil"
SITE_PROFILE = "bccd"
"""Name of the profile that `hemaserve adapt $HEMASERVE_DATA/bccd/train/images --name bccd` writes."""

LEFT_OUT = "left-out"
"""Label of the networks that were trained without any image of bccd; their figures lie in a folder of this name."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """One run of `hemaserve evaluate`.

    Attributes:
        name: of its JSON file.
        what: cells, detections, fields or screen.
        folder: below the data folder.
        options: further arguments.
    """

    name: str
    what: str
    folder: str
    options: tuple[str, ...] = ()

    def command(self, data: str, json_file: str) -> list[str]:
        return ["evaluate", self.what, f"{data}/{self.folder}", *self.options, "--json", json_file]

    @property
    def shown(self) -> str:
        """The command as anybody would type it."""
        return " ".join(["hemaserve", *self.command(DATA, f"{self.name}.json")])


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
        label: None for the networks that serve by default, `LEFT_OUT` for those trained without bccd.
    """
    return list(_of_left_out(models) if label == LEFT_OUT else _of_default(models))


def _of_default(models: Sequence[Document]) -> Iterator[Measurement]:
    for name in named(models, "detection"):
        options = ("--split", "val", "--model", name)
        yield Measurement(f"detections-{name}", "detections", "smear_fields", options)
    for name in named(models, "classification"):
        options = ("--finer", "prefix", "--model", name)
        yield Measurement(f"cells-{name}", "cells", "pbc/val", options)
    if default := default_of(models, "classification"):
        options = ("--types", FIVE_TYPES, "--model", default)
        yield Measurement("cells-five-types", "cells", "pbc/val", options)
    for name in named(models, "classification"):
        yield Measurement(f"fields-{name}", "fields", "bccd/val", ("--model", name))
    if named(models, "screen_field"):
        yield Measurement("screen", "screen", "leukemia/val")


def _of_left_out(models: Sequence[Document]) -> Iterator[Measurement]:
    names = named(models, "classification")
    for name in names:
        yield Measurement(f"fields-{name}", "fields", "bccd/val", ("--model", name))
    # These networks have seen nothing of bccd: its training side is as good a stranger, and four times as large.
    for name in names:
        yield Measurement(f"fields-{name}-train", "fields", "bccd/train", ("--model", name))
    for name in names:
        options = ("--model", name, "--site-profile", SITE_PROFILE)
        yield Measurement(f"fields-{name}-profile", "fields", "bccd/val", options)


@dataclass(frozen=True)
class Results:
    """The figures of one stack: what lies in docs/accuracy, or in its folder `left-out`.

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
    models = (_load(folder / "models.json") or {"models": []})["models"]
    measured = measurements(models, label)
    found = {m.name: document for m in measured if (document := _load(folder / f"{m.name}.json"))}
    for name, document in found.items():
        _check_networks(name, document["provenance"], models)
    speed = _load(folder / "speed.json") or {}
    for source in speed.get("networks", {}).values():
        _check_digests("speed", source["sources"], models)
    return Results(tuple(models), found, tuple(m for m in measured if m.name in found), speed)


def _load(path: Path) -> Document | None:
    if not path.is_file():
        return None
    document = dict(json.loads(path.read_text(encoding="utf-8")))
    if document.get("partial"):
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
