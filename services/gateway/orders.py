"""What callers order, in the domain's words: checked, and free of protobuf."""

import hashlib
from dataclasses import dataclass

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.results import Priority
from hemaserve.tally import FieldTally, SlidePosition


@dataclass(frozen=True, slots=True)
class FieldOrder:
    """One field to analyse.

    Attributes:
        field_id: the caller's name for it; unique in its smear.
        image: an image file.
        sequence: its place in the counting order of its smear.
        um_per_px: its scale; None when unknown.
        stage_position: its top left corner on the slide; None when unknown.
        site_profile: name of the profile that corrects its crops' colours; empty for none.
    """

    field_id: str
    image: bytes
    sequence: int = 0
    um_per_px: float | None = None
    stage_position: SlidePosition | None = None
    site_profile: str = ""

    def image_sha256(self) -> str:
        """Digest of the image file in lower-case hexadecimal."""
        return hashlib.sha256(self.image).hexdigest()


@dataclass(frozen=True, slots=True)
class RefusedField:
    """A field of a smear that cannot be analysed as it was sent, but can be acknowledged.

    Attributes:
        field_id: the caller's name for it.
        sequence: its place in the counting order of its smear.
        image: what was sent as its image.
        error: what is wrong with it.
    """

    field_id: str
    sequence: int
    image: bytes
    error: InvalidArgument

    def image_sha256(self) -> str:
        """Digest of what was sent as its image, in lower-case hexadecimal."""
        return hashlib.sha256(self.image).hexdigest()


@dataclass(frozen=True, slots=True)
class AnalyzeOptions:
    """What to do with each field.

    Attributes:
        model: classification model; empty for the service's default.
        detector_model: detection model; empty for the service's default.
        kinds: kinds whose cells are classified and returned.
        crop_encoding: how each returned cell carries its crop.
        screen: whether the leukemia screen looks at the field and its white cells as well.
        shadow_model: classification model whose answers are compared, and not returned; empty for none.
    """

    model: str = ""
    detector_model: str = ""
    kinds: frozenset[Kind] = frozenset({Kind.WBC})
    crop_encoding: CropEncoding = CropEncoding.NONE
    screen: bool = False
    shadow_model: str = ""


@dataclass(frozen=True, slots=True)
class SmearOrder:
    """A smear to analyse.

    Attributes:
        smear_id: the caller's name for it.
        specimen: accession number; goes into the answer and nowhere else.
        target: identified leukocytes to count; 0 counts all fields.
        priority: order of service.
        options: what to do with each field.
        received: tallies of the results that the caller has from earlier streams of this smear.
    """

    smear_id: str
    specimen: str = ""
    target: int = 0
    priority: Priority = Priority.ROUTINE
    options: AnalyzeOptions = AnalyzeOptions()
    received: tuple[FieldTally, ...] = ()
