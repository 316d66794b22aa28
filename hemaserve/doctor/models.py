"""Whether the networks of a stack are those that were measured, and whether they are there. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from hemaserve.doctor.findings import Check, Finding, note, well, wrong
from hemaserve.results import Model, ModelTask

_NEEDED = {ModelTask.DETECTION: "detector", ModelTask.CLASSIFICATION: "classifier"}


def committed() -> Mapping[str, str]:
    """SHA-256 of each network of the repository of this version, by its name."""
    found: dict[str, str] = json.loads((files("hemaserve") / "committed_models.json").read_text())
    return found


def judge_models(models: Sequence[Model], expected: Mapping[str, str]) -> Iterator[Finding]:
    """What is to be said of the networks that a stack lists.

    Args:
        expected: their digests, by name.
    """
    loaded = [model for model in models if not model.on_request]
    for task, service in _NEEDED.items():
        defaults = [model for model in loaded if model.task is task and model.is_default]
        if not any(model.ready for model in defaults):
            yield wrong(
                Check.MODELS,
                f"no {service} is ready for requests that name none",
                "Such requests are refused, or answered by a part of an ensemble.",
                f"See the {service}'s log and Triton's for why its default model is not loaded.",
            )
    if away := [model.name for model in loaded if not model.ready]:
        yield wrong(
            Check.MODELS,
            f"not ready: {', '.join(away)}",
            "Requests that name them are refused.",
            "See Triton's log: a network that cannot be loaded says why there.",
        )
    others = [
        model for model in loaded if expected.get(model.name, model.source.sha256) != model.source.sha256
    ]
    for model in others:
        yield wrong(
            Check.MODELS,
            f"{model.name} is not the network that this version of HemaServe was measured with: its file's SHA-256 "
            f"begins with {model.source.sha256[:12]}, not with {expected[model.name][:12]}",
            "Accuracy, thresholds and calibration in the documentation are of another network.",
            "If it is an older one, deploy the model repository of this version; if it is yours, give it a name of its "
            "own and roll it out beside ours, see docs/operating.md.",
        )
    if unknown := [model.name for model in loaded if model.name not in expected]:
        yield note(
            Check.MODELS,
            f"not of this version's repository: {', '.join(unknown)}",
            "What they reach is not in the documentation.",
            "Nothing, if they are yours and you have measured them: hemaserve evaluate --help",
        )
    same = [model for model in loaded if model.name in expected and model not in others]
    yield well(
        Check.MODELS, f"{len(same)} networks are those that were measured: {', '.join(m.name for m in same)}"
    )


def judge_rollouts(models: Sequence[Model]) -> Iterator[Finding]:
    """What is to be said of versions side by side; nothing where there are none."""
    for model in models:
        rollout = model.rollout
        if rollout is None:
            continue
        if rollout.missing:
            yield wrong(
                Check.ROLLOUT,
                f"{', '.join(rollout.missing)}, which the rollout file names for {model.name}, is not there",
                "Other versions answer in its place.",
                "Load it (it is in no repository, or cannot be loaded, see Triton's log), or take it out of the file.",
            )
            continue
        beside = (
            f"; beside it {rollout.candidate} for {rollout.share:.4g} of the smears, and as a shadow of "
            f"{rollout.shadow_share:.4g} of the others"
        )
        yield well(
            Check.ROLLOUT, f"{rollout.stable} answers for {model.name}{beside if rollout.candidate else ''}"
        )
