"""How many fields may be in memory, and how one gets there."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import RgbImage
from services.runtime.admission import Admission
from services.runtime.decoders import Decoders
from services.runtime.remote import Deadline
from services.runtime.stages import stage
from services.runtime.workers import SMALL_BYTES, Workers


@dataclass(frozen=True, slots=True)
class Field:
    """A decoded field.

    Attributes:
        image: uint8 [height, width, 3] RGB, as displayed.
        sha256: digest of the file that it came in.
    """

    image: RgbImage
    sha256: str

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        return int(self.image.shape[0])


async def read_field(data: bytes, limits: ImageLimits, decoders: Decoders, workers: Workers) -> Field:
    """Decodes an image file; `hemaserve.imaging.decode` says which and what is refused."""
    image = await decoders.decode(data, limits=limits, field="image")
    # Not by the decoder: a file that breaks into it shall not choose its own digest.
    digest = _digest(data) if len(data) <= SMALL_BYTES else await workers.run(_digest, data)
    return Field(image, digest)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FieldGate:
    """Lets a few fields into memory at a time; a bounded number of others wait.

    Args:
        decoders: make pixels of files.
        workers: threads for the digests.
        limits: what is accepted as a field.
        admission: decides whose turn it is, in fields.
    """

    def __init__(
        self, decoders: Decoders, workers: Workers, limits: ImageLimits, admission: Admission
    ) -> None:
        self._decoders = decoders
        self._workers = workers
        self._limits = limits
        self._admission = admission

    @asynccontextmanager
    async def opened(self, data: bytes, deadline: Deadline) -> AsyncIterator[Field]:
        """The field in `data`, which has its place in memory until the block ends.

        Raises:
            InvalidArgument: `data` is no image that is accepted.
            ResourceExhausted, DeadlineExceeded: what `Admission.admitted` raises.
        """
        async with self._admission.admitted(deadline=deadline):
            with stage("decode"):
                field = await read_field(data, self._limits, self._decoders, self._workers)
            yield field
