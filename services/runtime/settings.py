"""What every service can be told. Each service has a subclass with its own prefix for environment variables."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hemaserve.image_files.facts import ImageLimits
from services.runtime.addresses import Address, ReplicatedAddress, is_loopback
from services.runtime.tls_files import TlsFiles


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

    health_listen: Address | None = None
    """Address to answer gRPC's health service on, and nothing else, without TLS: for Kubernetes' gRPC probes, which
    speak none. Default: with the other services only."""

    tls_certificate: Path | None = None
    """File of the service's certificate, PEM, with what it is chained by: gRPC is served with TLS. This and the other
    files are read again when they change."""

    tls_key: Path | None = None
    """File of the certificate's key, PEM, not encrypted."""

    tls_client_ca: Path | None = None
    """File of the authorities whose clients may connect, PEM: each must then show a certificate."""

    allow_insecure: bool = False
    """Whether to listen beyond the loopback without TLS; only where something else encrypts and identifies, as a
    service mesh does."""

    reflection: bool | None = None
    """Whether gRPC's reflection tells any caller what can be called. Default: only on the loopback without TLS."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""

    log_format: Literal["json", "text"] = "json"
    """`json`: one object a line; `text`: for people."""

    trace_endpoint: Annotated[str, Field(pattern=r"^(https?://[^/?#@\s]+:\d{1,5})?$")] = ""
    """Collector that spans are sent to by OTLP over gRPC, e.g. `http://127.0.0.1:4317`, or `https://` with TLS. Empty:
    no spans are recorded; the trace context of callers is passed on and told in logs all the same."""

    trace_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Of the traces that begin in this service, how many are recorded. Where a caller says whether its trace is
    recorded, that counts."""

    default_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Time that a unary call gets, in seconds, when its caller sets no deadline."""

    max_message_bytes: Annotated[int, Field(ge=4 * 2**20, le=2**30)] = 72 * 2**20
    """Largest message that is accepted, in bytes; a field's image is sent in one message."""

    max_concurrent_calls: Annotated[int, Field(ge=1)] = 512
    """Calls in progress at one time, whatever their priority; further ones are refused with RESOURCE_EXHAUSTED. A last
    resort: keep it above what is let in and may wait, so that it is never this that keeps STAT out."""

    stream_idle_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """How long a stream's next request is waited for, in seconds; then the stream ends with DEADLINE_EXCEEDED."""

    drain_delay_s: Annotated[float, Field(ge=0, le=300)] = 0.0
    """After SIGTERM: how long to keep accepting calls while health already says NOT_SERVING, in seconds. Gives load
    balancers time to notice; 5 is usual on Kubernetes."""

    drain_grace_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """After that: how long calls in progress may take to finish, in seconds. Then they are ended with UNAVAILABLE, so
    that streams are resumed elsewhere."""

    connection_age_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    """Age at which a connection takes no further calls, in seconds, so that callers spread over new replicas too. Calls
    in progress go on."""

    connection_age_grace_s: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    """After that: how long calls in progress may take to finish, in seconds; then they break. For smears, which are
    resumed elsewhere; nothing else takes so long."""

    health_interval_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often the service looks whether it can answer, in seconds."""

    decoders: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that decode image files, each started when it is first needed; some 10 MB each, and what an image takes
    while it is decoded. Services in one process share them."""

    @property
    def tls(self) -> TlsFiles | None:
        """The files that gRPC is served with; None without TLS."""
        if self.tls_certificate is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def reflects(self) -> bool:
        """Whether reflection is on."""
        if self.reflection is not None:
            return self.reflection
        return self.tls is None and is_loopback(self.listen)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise ValueError(f"{missing} is missing: tls_certificate and tls_key go together")
        if self.tls_client_ca is not None and self.tls is None:
            raise ValueError("tls_client_ca is given without tls_certificate and tls_key")
        if self.tls is None and not self.allow_insecure and not is_loopback(self.listen):
            raise ValueError(
                f"listen is {self.listen}, which other machines can reach, without TLS: give tls_certificate and "
                "tls_key, listen on the loopback, or set allow_insecure where something else encrypts, e.g. a mesh"
            )
        return self


class ModelSettings(ServiceSettings):
    """Settings of the services that have networks, in Triton, and look at whole fields."""

    triton_address: ReplicatedAddress = "127.0.0.1:8001"
    """Address of Triton's gRPC port: `host:port`, several of them with commas between, or `dns:///name:port`."""

    triton_tls_ca: Path | None = None
    """File of the authorities of Triton, PEM: it is called with TLS, and shown the service's own certificate."""

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

    max_batch_ms: Annotated[int, Field(ge=1, le=60_000)] = 200
    """Time that one batch may take a network, in milliseconds: what STAT may have to wait for. Larger requests are
    divided; what a row takes is measured."""

    batches_at_once: Annotated[int, Field(ge=1, le=256)] = 3
    """How much work that is not STAT may be with Triton at one time, in batches of that time. One more than a network
    has instances keeps them busy; further work waits here, where its order can still change."""

    @property
    def triton_tls(self) -> TlsFiles | None:
        """The files that Triton is called with; None without TLS."""
        if self.triton_tls_ca is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.triton_tls_ca)

    @property
    def image_limits(self) -> ImageLimits:
        return ImageLimits(self.max_image_bytes, self.max_image_pixels, self.max_image_side_px)

    @model_validator(mode="after")
    def _check_triton(self) -> Self:
        if self.triton_tls_ca is not None and self.tls is None:
            raise ValueError(
                "triton_tls_ca is given without tls_certificate and tls_key, which Triton is shown"
            )
        return self

    @model_validator(mode="after")
    def _check_mutual(self) -> Self:
        if self.tls is not None and self.tls_client_ca is None:
            raise ValueError(
                "tls_client_ca is missing: with TLS, this service answers only those who show a certificate"
            )
        return self
