"""What the gateway can be told."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hemaserve.differential import UNIDENTIFIED_LIMIT
from services.runtime.addresses import Address, ReplicatedAddress
from services.runtime.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Settings of the gateway; environment variables begin with HEMASERVE_GATEWAY_."""

    model_config = SettingsConfigDict(
        env_prefix="HEMASERVE_GATEWAY_", cli_prog_name="python -m services.gateway"
    )

    listen: Address = "127.0.0.1:50051"
    """Address to serve gRPC on; port 0 takes a free one."""

    metrics_listen: Address = "127.0.0.1:9101"
    """Address of the Prometheus endpoint (/metrics); port 0 takes a free one."""

    detector_address: ReplicatedAddress = "127.0.0.1:50052"
    """Address of the detector: `host:port`, several of them with commas between, or `dns:///name:port`."""

    classifier_address: ReplicatedAddress = "127.0.0.1:50053"
    """Address of the classifier: `host:port`, several of them with commas between, or `dns:///name:port`."""

    max_image_bytes: Annotated[int, Field(ge=1, le=2**30)] = 64 * 2**20
    """Largest image file that is accepted, in bytes. Keep it below max_message_bytes, here and in the detector."""

    fields_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Fields of one smear that are held and analysed at one time; beyond it the stream is not read."""

    field_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Time that one field of a smear gets, in seconds; then it has failed, and the smear goes on."""

    hedge_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Fields that may be analysed once more at the same time, where detector or classifier have replicas, as a share of
    all fields: those that take longer than 95% of the last hundred did. The first answer counts. None of batch
    priority; 0 for none at all."""

    cell_requests_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests of one ClassifyCells stream that are held and answered at one time."""

    max_cell_image_side_px: Annotated[int, Field(ge=64, le=16_384)] = 4096
    """Longest side of an image of a located cell, in pixels. Larger images are fields: for AnalyzeField."""

    decode_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that decode images of located cells and encode crops; bounds the memory that decoded images take."""

    unidentified_limit: Annotated[float, Field(ge=0, le=1)] = UNIDENTIFIED_LIMIT
    """Share of unidentified cells, 0 to 1, above which a result is flagged for review."""

    models_max_age_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """How long what the classifier said of its models is believed, in seconds."""
