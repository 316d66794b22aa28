"""The stack, as far as queues go: who works on a field, who waits for whom, and who is refused.

Schedulers are the services' own: `Admission` before fields and crops, `TritonPace` before networks. What they schedule
here takes the time that was measured, on simulated cores.
"""

import asyncio
import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar, cast

import numpy as np

from benchmarks.capacity.cores import Cores, Threads
from benchmarks.capacity.profile import FieldCost, NetworkCost, Profile, scattered
from benchmarks.capacity.virtual_time import VirtualDeadline, now_s
from services.classifier.batches import infer_all
from services.classifier.settings import ClassifierSettings
from services.detector.settings import DetectorSettings
from services.gateway.capacity import fields_capacity
from services.gateway.settings import GatewaySettings
from services.runtime.admission import Admission, Capacity
from services.runtime.caller import Caller, current_caller
from services.triton.client import TritonClient
from services.triton.pace import PaceLimits, TritonPace

DETECTION: Final = "yolov8n"
ENSEMBLE: Final = "ensemble"
MEMBERS: Final = ("efficientnet", "xception")
VOTE: Final = "vote"
MAX_BATCH: Final = 64

ROLES: Final = ("gateway", "detector", "triton-detection", "classifier", "triton-classification")
"""What is scaled by itself, as the manifests call it, in the order in which a field comes to it."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pods:
    """So many replicas of something, and the cores of each."""

    replicas: int
    cores: int

    @property
    def all_cores(self) -> int:
        return self.replicas * self.cores


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the stack runs.

    Attributes:
        shared_cores: cores of the one machine on which all of it runs, its callers too; None for pods with cores of
            their own.
        fields_at_once: what each gateway lets in at one time; None for its default.
        fields_waiting: fields that may wait at each gateway; None for its default.
    """

    gateway: Pods = Pods(1, 1)
    detector: Pods = Pods(1, 2)
    classifier: Pods = Pods(1, 1)
    triton_detection: Pods = Pods(1, 2)
    triton_classification: Pods = Pods(1, 2)
    shared_cores: int | None = None
    fields_at_once: int | None = None
    fields_waiting: int | None = None

    @property
    def roles(self) -> dict[str, Pods]:
        """The pods of each role, in the order in which a field comes to them."""
        return {role: getattr(self, role.replace("-", "_")) for role in ROLES}

    @property
    def all_cores(self) -> int:
        """How many cores all of it has."""
        return self.shared_cores or sum(pods.all_cores for pods in self.roles.values())

    def with_replicas(self, role: str, replicas: int) -> "Layout":
        """The same with so many pods of a role."""
        pods = replace(self.roles[role], replicas=replicas)
        changes: dict[str, Any] = {role.replace("-", "_"): pods}
        return replace(self, **changes)


class RoundRobin(Generic[_T]):
    """Each replica in turn, as gRPC's policy of that name has it: every caller has a turn of its own."""

    def __init__(self, replicas: Sequence[_T], start: int = 0) -> None:
        self._turns = itertools.cycle([*replicas[start:], *replicas[:start]])

    def next(self) -> _T:
        """Whose turn it is."""
        return next(self._turns)


@dataclass
class _Batch:
    """A request that waits in Triton."""

    rows: int
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Service:
    """What all services have: cores, an event loop, and work that takes longer or less long."""

    def __init__(self, profile: Profile, cores: Cores, chance: np.random.Generator) -> None:
        self._profile = profile
        self._chance = chance
        self.cores = cores
        self._loop = self._threads(1)

    def _threads(self, at_once: int) -> Threads:
        return Threads(self.cores, at_once, self._profile.aside)

    def _about(self, seconds: float) -> float:
        return seconds * scattered(self._profile.relative, self._chance)


class Network:
    """One network in one Triton: a queue by priority, instances that take from it what fits into a batch."""

    def __init__(self, cost: NetworkCost, cores: Cores, chance: np.random.Generator) -> None:
        self._cost = cost
        self._cores = cores
        self._chance = chance
        self._idle = cost.instances
        self._queue: list[tuple[int, int, _Batch]] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()

    async def infer(self, rows: int, priority: int) -> None:
        """Wait for an instance and for its answer."""
        batch = _Batch(rows)
        heapq.heappush(self._queue, (priority, next(self._numbers), batch))
        self._start()
        await batch.done

    def _start(self) -> None:
        while self._idle and self._queue:
            batches = [heapq.heappop(self._queue)[2]]
            rows = batches[0].rows
            while self._queue and rows + self._queue[0][2].rows <= MAX_BATCH:
                batches.append(heapq.heappop(self._queue)[2])
                rows += batches[-1].rows
            self._idle -= 1
            task = asyncio.get_running_loop().create_task(self._run(batches, rows))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batches: Sequence[_Batch], rows: int) -> None:
        await self._cores.run(self._cost.batch_s(rows, len(batches), self._chance))
        for batch in batches:
            if not batch.done.done():
                batch.done.set_result(None)
        self._idle += 1
        self._start()


class Triton:
    """One Triton and its networks; an ensemble's members run side by side, then its vote."""

    def __init__(
        self, profile: Profile, names: Sequence[str], cores: Cores, chance: np.random.Generator
    ) -> None:
        self.cores = cores
        self.networks = {name: Network(profile.networks[name], cores, chance) for name in names}

    async def infer(self, model: str, rows: int, priority: int) -> None:
        """Run a model, as Triton does."""
        if model != ENSEMBLE:
            await self.networks[model].infer(rows, priority)
            return
        await asyncio.gather(*(self.networks[name].infer(rows, priority) for name in MEMBERS))
        await self.networks[VOTE].infer(rows, priority)


class TritonChannel:
    """What a service calls Triton by; takes the place of `TritonClient` in `TritonPace`."""

    def __init__(self, replicas: RoundRobin[Triton], hop_s: float) -> None:
        self._replicas = replicas
        self._hop_s = hop_s

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str],  # noqa: ARG002 - nobody looks at what comes back
        *,
        timeout_s: float,  # noqa: ARG002 - the field's own deadline ends it
        priority: int,
        headers: Mapping[str, str] | None,  # noqa: ARG002 - nobody traces here
    ) -> dict[str, Any]:
        """Takes the time that it takes."""
        rows = len(next(iter(inputs.values())))
        await asyncio.sleep(self._hop_s)
        await self._replicas.next().infer(model, rows, priority)
        await asyncio.sleep(self._hop_s)
        return {}


@dataclass(frozen=True, slots=True)
class _Model:
    """A model as `infer_all` wants to know it."""

    name: str
    max_batch_size: int = MAX_BATCH


class Detector(_Service):
    """One detector: fields in memory, decoders, threads for pixels, and its network's pace."""

    def __init__(
        self, profile: Profile, cores: Cores, chance: np.random.Generator, triton: TritonChannel
    ) -> None:
        super().__init__(profile, cores, chance)
        settings = DetectorSettings()
        self._pixels = self._threads(settings.workers)
        self._decoders = self._threads(settings.decoders)
        capacity = Capacity("fields", settings.fields_at_once, settings.fields_waiting, kept_for_stat=1)
        self.fields = Admission(capacity, clock=now_s)
        self._pace = _pace(triton, settings.max_batch_ms, settings.batches_at_once)

    async def detect(self, what: FieldCost, deadline: VirtualDeadline) -> None:
        """What `DetectorService.Detect` takes for a field."""
        profile = self._profile
        await self._loop.run(self._about(0.5 * profile.detector_s))
        async with self.fields.admitted(deadline=deadline):
            await self._decoders.run(self._about(profile.decoding_s))
            await self._pixels.run(self._about(0.5 * profile.pixels_s))
            for pieces in _parts(what.pieces, what.looks):
                await infer_all(
                    self._pace, _Model(DETECTION), "images", cast("Any", range(pieces)), [], timeout_s=3600
                )
            await self._pixels.run(self._about(0.5 * profile.pixels_s))
            await self._loop.run(self._about(0.5 * profile.detector_s))


class Classifier(_Service):
    """One classifier: crops in memory, and its networks' pace."""

    def __init__(
        self, profile: Profile, cores: Cores, chance: np.random.Generator, triton: TritonChannel
    ) -> None:
        super().__init__(profile, cores, chance)
        settings = ClassifierSettings()
        at_once = settings.crops_at_once
        capacity = Capacity("crops", at_once, settings.crops_waiting, kept_for_stat=at_once // 4)
        self.crops = Admission(capacity, clock=now_s)
        self._pace = _pace(triton, settings.max_batch_ms, settings.batches_at_once)

    async def classify(self, crops: int, deadline: VirtualDeadline) -> None:
        """What `ClassifierService.Classify` takes for the crops of a field."""
        await self._loop.run(self._about(0.5 * self._profile.classifier_s))
        async with self.crops.admitted(crops, deadline=deadline):
            await infer_all(
                self._pace, _Model(ENSEMBLE), "crops", cast("Any", range(crops)), [], timeout_s=3600
            )
        await self._loop.run(self._about(0.5 * self._profile.classifier_s))


class Gateway(_Service):
    """One gateway: the door, and the way of a field through the services behind it."""

    def __init__(
        self,
        profile: Profile,
        cores: Cores,
        chance: np.random.Generator,
        layout: Layout,
        detectors: RoundRobin[Detector],
        classifiers: RoundRobin[Classifier],
    ) -> None:
        super().__init__(profile, cores, chance)
        settings = GatewaySettings()
        at_once = layout.fields_at_once or settings.fields_at_once
        waiting = settings.fields_waiting if layout.fields_waiting is None else layout.fields_waiting
        self._detectors = detectors
        self._classifiers = classifiers
        self.fields = Admission(fields_capacity(at_once, waiting), clock=now_s)

    async def analyze(self, what: FieldCost, caller: Caller, timeout_s: float) -> None:
        """What `SmearService.AnalyzeField` takes for a field.

        Raises:
            ResourceExhausted: it is refused.
            TimeoutError: its deadline passed.
        """
        current_caller.set(caller)
        profile = self._profile
        hop_s = profile.hop_s
        deadline = VirtualDeadline(timeout_s)
        async with asyncio.timeout(timeout_s):
            await asyncio.sleep(hop_s)
            await self._loop.run(self._about(0.4 * profile.gateway_s))
            async with self.fields.admitted(deadline=deadline):
                await asyncio.sleep(hop_s)
                await self._detectors.next().detect(what, deadline)
                await asyncio.sleep(hop_s)
                await self._loop.run(self._about(0.3 * profile.gateway_s))
                if what.crops:
                    await asyncio.sleep(hop_s)
                    await self._classifiers.next().classify(what.crops, deadline)
                    await asyncio.sleep(hop_s)
            await self._loop.run(self._about(0.3 * profile.gateway_s))
            await asyncio.sleep(hop_s)


class Stack:
    """All of it, where a layout puts it."""

    def __init__(self, profile: Profile, layout: Layout, seed: int = 1) -> None:
        chance = np.random.default_rng(seed)
        self.layout = layout
        self.shared = Cores(layout.shared_cores) if layout.shared_cores else None
        hop_s = profile.hop_s
        if self.shared is None:
            detections = [
                Triton(profile, (DETECTION,), cores, chance) for cores in self._cores(layout.triton_detection)
            ]
            classifications = [
                Triton(profile, (*MEMBERS, VOTE), cores, chance)
                for cores in self._cores(layout.triton_classification)
            ]
        else:
            names = (DETECTION, *MEMBERS, VOTE)
            detections = classifications = [
                Triton(profile, names, cores, chance) for cores in self._cores(layout.triton_detection)
            ]
        self.detectors = [
            Detector(
                profile, cores, chance, TritonChannel(RoundRobin(detections, number % len(detections)), hop_s)
            )
            for number, cores in enumerate(self._cores(layout.detector))
        ]
        self.classifiers = [
            Classifier(
                profile,
                cores,
                chance,
                TritonChannel(RoundRobin(classifications, number % len(classifications)), hop_s),
            )
            for number, cores in enumerate(self._cores(layout.classifier))
        ]
        self.gateways = [
            Gateway(
                profile,
                cores,
                chance,
                layout,
                RoundRobin(self.detectors, number % len(self.detectors)),
                RoundRobin(self.classifiers, number % len(self.classifiers)),
            )
            for number, cores in enumerate(self._cores(layout.gateway))
        ]
        self.detections, self.classifications = detections, classifications

    def busy_share(self, seconds: float) -> dict[str, float]:
        """How busy the cores of each role were on average, 0 to 1."""
        if self.shared is not None:
            return {"all": self.shared.busy_s / (seconds * self.shared.count)}
        roles: dict[str, Sequence[Gateway | Detector | Classifier | Triton]] = {
            "gateway": self.gateways,
            "detector": self.detectors,
            "triton-detection": self.detections,
            "classifier": self.classifiers,
            "triton-classification": self.classifications,
        }
        return {
            role: sum(pod.cores.busy_s for pod in pods) / (seconds * self.layout.roles[role].all_cores)
            for role, pods in roles.items()
        }

    def _cores(self, pods: Pods) -> list[Cores]:
        return [self.shared or Cores(pods.cores) for _ in range(pods.replicas)]


def _pace(triton: TritonChannel, max_batch_ms: int, batches_at_once: int) -> TritonPace:
    return TritonPace(cast("TritonClient", triton), PaceLimits(max_batch_ms, batches_at_once), clock=now_s)


def _parts(pieces: int, looks: int) -> list[int]:
    """The pieces of each look, as even as can be."""
    return [pieces // looks + (number < pieces % looks) for number in range(looks)]
