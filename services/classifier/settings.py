"""What the classifier can be told."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hemaserve.paths import site_profiles_folder
from services.runtime.addresses import Address
from services.runtime.settings import ModelSettings


class ClassifierSettings(ModelSettings):
    """Settings of the classifier: environment variables HEMASERVE_CLASSIFIER_*, or flags."""

    model_config = SettingsConfigDict(
        env_prefix="HEMASERVE_CLASSIFIER_", cli_prog_name="python -m services.classifier"
    )

    listen: Address = "127.0.0.1:50053"
    """Address to serve gRPC on; port 0 takes a free one."""

    metrics_listen: Address = "127.0.0.1:9103"
    """Address of the Prometheus endpoint (/metrics); port 0 takes a free one."""

    default_model: Annotated[str, Field(min_length=1, max_length=128)] = "ensemble"
    """Model for requests that name none; the service is ready when this model is."""

    default_members: tuple[str, ...] = ("efficientnet", "xception")
    """Members of the default model. Used only while Triton cannot load it: they then answer in its place, and say so.
    Empty when the default model is a single network."""

    screen_field_model: Annotated[str, Field(min_length=1, max_length=128)] = "leukemia_field"
    """Network of the leukemia screen of fields, loaded when first asked for. Where there is none, only this screen is
    refused."""

    screen_cell_model: Annotated[str, Field(min_length=1, max_length=128)] = "leukemia_cell"
    """Network of the leukemia screen of cells, loaded when first asked for. Where there is none, only this screen is
    refused."""

    fields_at_once: Annotated[int, Field(ge=1, le=256)] = 4
    """Fields to screen that are in memory at one time; each takes 3 bytes a pixel."""

    site_profiles: Path = Field(default_factory=site_profiles_folder)
    """Folder of site profiles, as `hemaserve adapt` writes them; need not exist. Files that change or come are noticed.
    Default: $XDG_DATA_HOME/hemaserve/site_profiles, that is ~/.local/share/hemaserve/site_profiles."""

    max_cells_per_request: Annotated[int, Field(ge=1, le=256)] = 256
    """Most cells in one request; the contract allows 256."""

    requests_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests of one stream that are worked on side by side; a further one is read when the first is answered."""

    crops_at_once: Annotated[int, Field(ge=1)] = 192
    """Crops of all streams that are with Triton at one time; further requests wait for their turn. Bounds memory: each
    crop of 96 px costs some 160 kB on its way. With GPUs, several times what they take in one batch keeps them busy."""

    crops_waiting: Annotated[int, Field(ge=0)] = 4096
    """Crops that may wait for their turn; requests beyond them are refused with RESOURCE_EXHAUSTED."""

    request_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Longest that one request may take, in seconds, however late its stream's deadline is."""

    min_crop_side_px: Annotated[int, Field(ge=1)] = 16
    """Least side of a crop before it is scaled to the model's size, in pixels."""

    max_crop_side_px: Annotated[int, Field(le=4096)] = 1024
    """Greatest side of a crop before it is scaled to the model's size, in pixels."""
