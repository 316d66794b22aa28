"""What the detector can be told, by environment variables (HEMASERVE_DETECTOR_...) or flags."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.detector.tiling import TilingPolicy
from services.runtime.addresses import Address
from services.runtime.settings import ModelSettings


class DetectorSettings(ModelSettings):
    """Settings of the detector service."""

    model_config = SettingsConfigDict(
        env_prefix="HEMASERVE_DETECTOR_", cli_prog_name="python -m services.detector"
    )

    listen: Address = "127.0.0.1:50052"
    """Address to serve gRPC on; port 0 takes a free one."""

    metrics_listen: Address = "127.0.0.1:9102"
    """Address of the Prometheus endpoint (/metrics); port 0 takes a free one."""

    default_model: Annotated[str, Field(min_length=1, max_length=128)] = "yolov8n"
    """Detection model for requests that name none; health follows its readiness."""

    models_refresh_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """How long what Triton said of a model is believed, in seconds."""

    tile_side_px: Annotated[int, Field(ge=64, le=8192)] = 640
    """Side of the smallest tiles, in pixels of the field, where its scale is neither given nor to be seen. Fields up
    to 1.25 times as long and without a scale are looked at in one piece, and closer only where their red cells seem
    smaller than in training or too few are seen to tell."""

    tile_overlap: Annotated[float, Field(ge=0.1, le=0.8)] = 0.35
    """What neighbouring tiles share, as a share of their side."""

    most_tiles: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Tiles are made larger rather than many more than this, which bounds the work that one field causes."""

    red_cell_share: Annotated[float, Field(gt=0.01, lt=1)] = 0.215
    """Longer side of a red cell's box as a share of the network's input: tiles are chosen so that red cells, 7.5 um
    where the scale is given and otherwise as large as they are seen to be, come out at this size. The default is the
    median of the 17,276 red cells in the training fields (TXL-PBC, smear_fields/train)."""

    batches_in_flight: Annotated[int, Field(ge=1, le=64)] = 3
    """Batches of tiles of one field that are on their way through Triton at one time."""

    chunk_bytes: Annotated[int, Field(ge=4096, le=3 * 2**20)] = 2**20
    """Size at which a message of the answer is sent off, in bytes; a single larger crop goes alone."""

    @property
    def tiling(self) -> TilingPolicy:
        return TilingPolicy(self.tile_side_px, self.tile_overlap, self.red_cell_share, self.most_tiles)
