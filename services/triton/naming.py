"""What the name of a model says of it: while a model is not loaded, Triton tells nothing else."""

from collections.abc import Collection, Iterable
from typing import Final

from hemaserve.errors import NotFound
from hemaserve.results import ModelTask

_STEP_SUFFIX: Final = "vote"
"""What the names of ensembles' last steps end in, which no request can name."""

_PREFIXES: Final = {
    "yolo": ModelTask.DETECTION,
    "leukemia_field": ModelTask.SCREEN_FIELD,
    "leukemia_cell": ModelTask.SCREEN_CELL,
}
"""What the names of networks begin with that do not name cells."""


def task_by_name(name: str) -> ModelTask | None:
    """What a model of that name would be for, by the repository's convention; None for a step of an ensemble."""
    if name.endswith(_STEP_SUFFIX):
        return None
    tasks = (task for prefix, task in _PREFIXES.items() if name.startswith(prefix))
    return next(tasks, ModelTask.CLASSIFICATION)


def no_such_model(
    name: str, task: ModelTask, *, loaded: Collection[str], loadable: Iterable[str]
) -> NotFound:
    """What to raise when a request names a model that there is not.

    Args:
        name: what the request says.
        task: what it is to be for.
        loaded: names of the models for this task that answer.
        loadable: names of the models that are loaded when a request names them, for any task.
    """
    available = ", ".join(sorted(loaded)) or "none"
    when_asked = {other for other in loadable if task_by_name(other) is task} - {name, *loaded}
    more = f"; loaded when asked for: {', '.join(sorted(when_asked))}" if when_asked else ""
    return NotFound(f"no {task} model {name!r}; available: {available}{more}", reason="MODEL_NOT_FOUND")
