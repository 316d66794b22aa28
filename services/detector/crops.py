"""Cuts cells out of a field and encodes them for the way."""

from dataclasses import dataclass

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.geometry import Box
from hemaserve.imaging import RgbImage, cut_crop


@dataclass(frozen=True, slots=True)
class CropOrder:
    """Which cells to cut out, and how.

    Attributes:
        kinds: the kinds to cut; none for detections only.
        encoding: how the pixels travel.
        size_px: side of a crop.
        margin: share of the box's longer side that is added on every side.
    """

    kinds: frozenset[Kind]
    encoding: CropEncoding
    size_px: int
    margin: float

    @property
    def most_bytes(self) -> int:
        """No crop is larger than this, in bytes: encoding adds at most a header to what it cannot shorten."""
        return self.size_px * self.size_px * 3 + 4096


def make_crop(image: RgbImage, box: Box, order: CropOrder) -> bytes:
    """The encoded square around `box`, as `hemaserve.imaging.cut_crop` cuts it."""
    return encode_crop(cut_crop(image, box, size=order.size_px, margin=order.margin), order.encoding)
