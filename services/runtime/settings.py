"""What every service can be told. Each service has a subclass with its own prefix for environment variables."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from hemaserve.image_files.facts import ImageLimits
from services.runtime.addresses import Address


class ServiceSettings(BaseSettings):
    """Settings that all services share. Given as environment variables or as flags."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True,
        cli_parse_args=False,
        cli_kebab_case=True,
        extra="ignore",
    )

    listen: Address = "127.0.0.1:50051"
    """Address to serve gRPC on; port 0 takes a free one."""

    metrics_listen: Address = "127.0.0.1:0"
    """Address of the Prometheus endpoint (/metrics); port 0 takes a free one."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""

    log_format: Literal["json", "text"] = "json"
    """`json`: one object a line; `text`: for people."""

    default_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Time that a unary call gets, in seconds, when its caller sets no deadline."""

    max_message_bytes: Annotated[int, Field(ge=4 * 2**20, le=2**30)] = 72 * 2**20
    """Largest message that is accepted, in bytes; a field's image is sent in one message."""

    max_concurrent_calls: Annotated[int, Field(ge=1)] = 256
    """Calls in progress at one time; further ones are refused with RESOURCE_EXHAUSTED."""

    drain_delay_s: Annotated[float, Field(ge=0, le=300)] = 0.0
    """After SIGTERM: how long to keep accepting calls while health already says NOT_SERVING, in seconds. Gives load
    balancers time to notice; 5 is usual on Kubernetes."""

    drain_grace_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """After that: how long calls in progress may take to finish, in seconds."""

    health_interval_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often the service looks whether it can answer, in seconds."""

    decoders: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that decode image files, each started when it is first needed; some 10 MB each, and what an image takes
    while it is decoded. Services in one process share them."""


class ModelSettings(ServiceSettings):
    """Settings of the services that have networks, in Triton, and look at whole fields."""

    triton_address: Address = "127.0.0.1:8001"
    """Address of Triton's gRPC port."""

    load_on_request: bool = True
    """Whether a network of Triton's repository that is not loaded yet is loaded when a request names it. Where not,
    such a request is refused at once."""

    stack_profile: Annotated[str, Field(max_length=128)] = ""
    """Name of the stack's profile, for the message of that refusal."""

    max_image_bytes: Annotated[int, Field(ge=1024)] = 64 * 2**20
    """Largest image file, in bytes."""

    max_image_pixels: Annotated[int, Field(ge=256)] = 64_000_000
    """Most pixels of a field; checked before any is decoded."""

    max_image_side_px: Annotated[int, Field(ge=16)] = 16_384
    """Longest side of a field, in pixels."""

    workers: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that scale and cut."""

    fields_at_once: Annotated[int, Field(ge=1, le=256)] = 8
    """Fields in memory at one time; each takes 3 bytes a pixel."""

    fields_waiting: Annotated[int, Field(ge=0, le=4096)] = 64
    """Fields that may wait for their turn; further ones are refused with RESOURCE_EXHAUSTED."""

    @property
    def image_limits(self) -> ImageLimits:
        return ImageLimits(self.max_image_bytes, self.max_image_pixels, self.max_image_side_px)
