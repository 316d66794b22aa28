"""What the parts of the stack take for one field, read from what was measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

MEASURED: Final = Path("docs/scaling/measured.json")

FURTHER_REQUEST: Final = 0.2
"""What a further request in a batch costs of what a request costs alone: it is taken in and answered, not run anew."""

_PIXELS_SHARE: Final = 0.8
"""Of the detector's own time, what its threads spend on pixels; the rest is its event loop's."""


HOP_S: Final = 0.0002
"""A message from one process to another on a machine, or in a data centre, beside the work that sends and reads it."""


def scattered(relative: Sequence[float], chance: np.random.Generator) -> float:
    """A value that is distributed as these quantiles, at even steps from 0 to 1, say."""
    steps = len(relative) - 1
    at = chance.random() * steps
    low = min(int(at), steps - 1)
    return float(relative[low] + (at - low) * (relative[low + 1] - relative[low]))


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a network takes of one core.

    Attributes:
        request_s: for any request, however small.
        row_s: for each row besides.
        relative: quantiles, at even steps from 0 to 1, of a time over its mean.
        instances: how many of it one Triton runs.
    """

    request_s: float
    row_s: float
    relative: tuple[float, ...]
    instances: int

    def batch_s(self, rows: int, requests: int, chance: np.random.Generator) -> float:
        """Seconds for a batch of some requests, as chance has it."""
        mean = self.request_s * (1 + FURTHER_REQUEST * (requests - 1)) + self.row_s * rows
        return mean * scattered(self.relative, chance)


@dataclass(frozen=True, slots=True)
class FieldCost:
    """What one kind of field asks of the networks: times that the detector's looks at it, pieces, and crops."""

    looks: int
    pieces: int
    crops: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds of a core for one field, by what spends them.

    Attributes:
        client_s: the caller's own, where it runs on the same cores.
        gateway_s: the gateway's event loop.
        detector_s: the detector's event loop.
        pixels_s: the detector's threads that scale and cut.
        decoding_s: a decoder's process.
        classifier_s: the classifier's event loop.
        networks: by name; each with its share of what Triton itself spends.
        fields: the kinds of fields, all as likely.
        relative: quantiles, at even steps from 0 to 1, of the time of a piece of the services' work over its mean.
        aside: share of the services' work that no field waits for.
        hop_s: time from one process to another in which no core works for the field.
    """

    client_s: float
    gateway_s: float
    detector_s: float
    pixels_s: float
    decoding_s: float
    classifier_s: float
    networks: Mapping[str, NetworkCost]
    fields: tuple[FieldCost, ...]
    relative: tuple[float, ...] = (1.0, 1.0)
    aside: float = 0.0
    hop_s: float = HOP_S

    def networks_s(self) -> float:
        """What the networks take for a field, on average."""
        detection = self.networks["yolov8n"]
        total = 0.0
        for field in self.fields:
            total += field.looks * detection.request_s + field.pieces * detection.row_s
            total += sum(
                cost.request_s + field.crops * cost.row_s
                for name, cost in self.networks.items()
                if name != "yolov8n"
            )
        return total / len(self.fields)

    def field_s(self) -> float:
        """What all of the stack takes for a field, on average, the caller apart."""
        services = self.gateway_s + self.detector_s + self.pixels_s + self.decoding_s + self.classifier_s
        return services + self.networks_s()

    def role_s(self) -> dict[str, float]:
        """What each role takes of its pods' cores for a field, on average."""
        crops = sum(field.crops for field in self.fields) / len(self.fields)
        members = [cost for name, cost in self.networks.items() if name != "yolov8n"]
        naming_s = sum(cost.request_s + crops * cost.row_s for cost in members)
        return {
            "gateway": self.gateway_s,
            "detector": self.detector_s + self.pixels_s + self.decoding_s,
            "triton-detection": self.networks_s() - naming_s,
            "classifier": self.classifier_s,
            "triton-classification": naming_s,
        }

    def times(self, factor: float) -> "Profile":
        """The same on cores that take so many times as long for everything."""
        names = ("client_s", "gateway_s", "detector_s", "pixels_s", "decoding_s", "classifier_s")
        scaled = {name: factor * getattr(self, name) for name in names}
        networks = {
            name: replace(cost, request_s=factor * cost.request_s, row_s=factor * cost.row_s)
            for name, cost in self.networks.items()
        }
        return replace(self, networks=networks, **scaled)


def load_measured(path: Path = MEASURED) -> dict[str, Any]:
    """What `python -m benchmarks.capacity measure` has written."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def profile_of(measured: Mapping[str, Any]) -> Profile:
    """The profile in what was measured, but for what only latencies tell, see `comparing.fitted`.

    A process takes what it took on average over all loads. The networks' times, which were measured one request at a
    time and with what asking costs, are scaled alike so that a field takes of the processors what it really took.
    """
    runs = measured["runs"]
    done = np.array([run["throughput"] * run["seconds"] for run in runs])

    def cpu_s(*roles: str) -> float:
        spent = [sum(run["cpu_ms_per_field"].get(role, 0.0) for role in roles) for run in runs]
        return float(np.average(spent, weights=done)) / 1000

    networks = {
        name: NetworkCost(
            each["request_ms"] / 1000, each["row_ms"] / 1000, _over_mean(each["relative"]), each["instances"]
        )
        for name, each in measured["networks"].items()
    }
    detector_s = cpu_s("detector")
    profile = Profile(
        client_s=cpu_s("load"),
        gateway_s=cpu_s("gateway"),
        detector_s=detector_s * (1 - _PIXELS_SHARE),
        pixels_s=detector_s * _PIXELS_SHARE,
        decoding_s=cpu_s("decoders"),
        classifier_s=cpu_s("classifier"),
        networks=networks,
        fields=tuple(FieldCost(each["looks"], each["pieces"], each["crops"]) for each in measured["fields"]),
        relative=_over_mean(measured["networks"]["efficientnet"]["relative"]),
    )
    factor = cpu_s("networks", "tritonserver", "triton") / profile.networks_s()
    scaled = {
        name: replace(cost, request_s=factor * cost.request_s, row_s=factor * cost.row_s)
        for name, cost in networks.items()
    }
    return replace(profile, networks=scaled)


def _over_mean(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Quantiles at even steps, over the mean of what `scattered` makes of them."""
    mean = float(np.mean((np.array(quantiles[1:]) + np.array(quantiles[:-1])) / 2))
    return tuple(each / mean for each in quantiles)
