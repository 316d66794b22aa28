"""What callers hand to the client, and the protobuf messages made of it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from hemaserve.cells import Kind
from hemaserve.client.translate import box_to_proto, encoding_to_proto, kinds_to_proto
from hemaserve.geometry import Box
from hemaserve.results import CropEncoding
from hemaserve.v1 import gateway_pb2

_T = TypeVar("_T")

ImageSource = bytes | Path
"""An image file's bytes, or where it is: a JPEG, PNG, TIFF, BMP or WebP file, 8 bits a channel, grey or RGB."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What may be known of how a field was made.

    Attributes:
        um_per_px: scale in micrometres per pixel, 0.02 to 1.
        stain: e.g. `may-gruenwald-giemsa`; at most 64 characters.
        site_profile: name of the profile that corrects the site's colours, see `Client.list_site_profiles`.
        acquired_at: when the photograph was taken; with a time zone.
        stage_position_um: x and y of the field's top left corner on the slide, in micrometres. With `um_per_px`,
            cells of overlapping fields are counted once.
    """

    um_per_px: float | None = None
    stain: str = ""
    site_profile: str = ""
    acquired_at: datetime | None = None
    stage_position_um: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a smear.

    Attributes:
        image: the file's bytes, or its path, then read when its turn comes.
        field_id: unique in its smear, 1 to 128 characters; by default its number in the smear, from 1.
    """

    image: ImageSource
    field_id: str = ""
    acquisition: Acquisition | None = None


@dataclass(frozen=True, slots=True)
class LocatedCell:
    """A cell that the caller has located.

    Attributes:
        image: an image with the cell in it.
        cell_id: returned unchanged; at most 128 characters.
        box: where in the image the cell is, without margin; by default the whole image.
    """

    image: ImageSource
    cell_id: str = ""
    box: Box | None = None


async def read(image: ImageSource) -> bytes:
    """The image file's bytes.

    Raises:
        OSError: the file cannot be read.
    """
    return image if isinstance(image, bytes) else await asyncio.to_thread(image.read_bytes)


def options(
    *, model: str | None, detector_model: str | None, kinds: Iterable[Kind], crops: CropEncoding, screen: bool
) -> gateway_pb2.AnalyzeOptions:
    return gateway_pb2.AnalyzeOptions(
        model=model or "",
        detector_model=detector_model or "",
        kinds=kinds_to_proto(kinds),
        crop_encoding=encoding_to_proto(crops),
        screen=screen,
    )


async def field(source: Field, *, field_id: str, sequence: int = 0) -> gateway_pb2.Field:
    message = gateway_pb2.Field(field_id=field_id, image=await read(source.image), sequence=sequence)
    known = source.acquisition
    if known is not None:
        made = message.acquisition
        made.um_per_px = known.um_per_px or 0.0
        made.stain, made.site_profile = known.stain, known.site_profile
        if known.acquired_at is not None:
            made.acquired_at.FromDatetime(known.acquired_at)
        if known.stage_position_um is not None:
            made.stage_position.x_um, made.stage_position.y_um = known.stage_position_um
    return message


async def located_cell(source: LocatedCell) -> gateway_pb2.LocatedCell:
    box = None if source.box is None else box_to_proto(source.box)
    return gateway_pb2.LocatedCell(cell_id=source.cell_id, image=await read(source.image), box=box)


async def located_cells(
    cells: Iterable[LocatedCell | ImageSource] | AsyncIterable[LocatedCell | ImageSource],
) -> AsyncIterator[gateway_pb2.LocatedCell]:
    """The cells as messages."""
    async for cell in each(cells):
        yield await located_cell(cell if isinstance(cell, LocatedCell) else LocatedCell(cell))


async def each(items: Iterable[_T] | AsyncIterable[_T]) -> AsyncIterator[_T]:
    """The items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def numbered(
    fields: Iterable[Field | ImageSource] | AsyncIterable[Field | ImageSource],
) -> AsyncIterator[gateway_pb2.Field]:
    """The fields as messages, with their sequence numbers from 0 and with ids."""
    seen: set[str] = set()
    sequence = 0
    async for item in each(fields):
        source = item if isinstance(item, Field) else Field(item)
        field_id = source.field_id or str(sequence + 1)
        if field_id in seen:
            raise ValueError(f"field id {field_id!r} comes twice in this smear")
        seen.add(field_id)
        yield await field(source, field_id=field_id, sequence=sequence)
        sequence += 1
