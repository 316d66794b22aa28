"""What a stack says of itself: its models, its site profiles, its health."""

from dataclasses import dataclass
from datetime import datetime

from hemaserve.cells import CellType, Kind
from hemaserve.results.findings import ModelSource
from hemaserve.results.words import ModelTask


@dataclass(frozen=True, slots=True)
class Rollout:
    """Two versions of a classification model side by side; each is a model with a name of its own.

    Attributes:
        stable: name of the version that answers.
        candidate: name of the version that is tried; empty when there is none.
        share: of the smears that the candidate answers, 0 to 1.
        shadow_share: of the others in which the candidate is asked too, and its answers are compared, 0 to 1.
        missing: those of both that are not there: others answer in their place.
    """

    stable: str
    candidate: str
    share: float
    shadow_share: float
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A network, or an ensemble of them, that requests can name.

    Attributes:
        ready: whether it answers at this moment.
        input_size_px: side of the square image that it takes.
        leaf_types: types that it can answer; classification only.
        kinds: kinds that it can answer; detection only.
        members: names of its members, when it is an ensemble.
        crop_margin: around a cell's box, as a share of the box's longer side on each side; classification only.
        licence: SPDX identifier.
        screen_classes: classes that it tells apart; networks of the leukemia screen only.
        screen_flag_classes: those of the classes that flag; networks of the leukemia screen only.
        explainable: whether its answers can be explained, see `Client.explain_cell`.
        rollout: which versions answer requests that name it; None when it alone does.
        on_request: whether it is not loaded, and will be when a request names it; then only its name is known.
    """

    name: str
    title: str
    task: ModelTask
    source: ModelSource
    ready: bool
    is_default: bool
    input_size_px: int
    leaf_types: tuple[CellType, ...]
    kinds: tuple[Kind, ...]
    members: tuple[str, ...]
    crop_margin: float
    licence: str
    screen_classes: tuple[str, ...] = ()
    screen_flag_classes: tuple[str, ...] = ()
    explainable: bool = False
    rollout: Rollout | None = None
    on_request: bool = False


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """A correction of one laboratory's colours that requests can name.

    Attributes:
        name: name to use in requests.
        sha256: of its file, in lower-case hexadecimal.
        fields: how many fields it was learned from.
        white_cells: how many white cells these showed.
        created_at: when it was learned, UTC; None when the service does not say.
    """

    name: str
    sha256: str
    fields: int
    white_cells: int
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the gateway, and with it all that it needs, answers at this moment."""

    address: str
    serving: bool
