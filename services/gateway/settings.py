"""What the gateway can be told."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from hemaserve.differential import UNIDENTIFIED_LIMIT
from services.runtime.addresses import Address, ReplicatedAddress, is_loopback
from services.runtime.settings import ServiceSettings
from services.runtime.tls_files import TlsFiles


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

    tls_ca: Path | None = None
    """File of the authorities of detector and classifier, PEM: they are called with TLS, and shown the gateway's own
    certificate."""

    tls_server_name: str = ""
    """Whom the certificates of detector and classifier must be for, where that is not the host of their addresses."""

    max_image_bytes: Annotated[int, Field(ge=1, le=2**30)] = 64 * 2**20
    """Largest image file that is accepted, in bytes. Keep it below max_message_bytes, here and in the detector."""

    fields_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Fields of one smear that are held and analysed at one time; beyond it the stream is not read."""

    fields_at_once: Annotated[int, Field(ge=1, le=256)] = 3
    """Fields of all calls and streams, and requests with located cells, that are analysed at one time; others wait
    for their turn. As many as keep the networks busy (the default: those of two cores): more of them only make each
    one slower, STAT among them. One more is let in when it is STAT, and while one is at work only one that is not."""

    fields_waiting: Annotated[int, Field(ge=0, le=4096)] = 32
    """Fields of calls that may wait for their turn; further ones are refused with RESOURCE_EXHAUSTED, as are those
    whose deadline could not be kept. A stream is not refused: while its next field waits, it is not read."""

    streams_at_once: Annotated[int, Field(ge=1, le=4096)] = 128
    """Streams that may be open at one time; further ones are refused with RESOURCE_EXHAUSTED; a quarter more may be
    open when these are STAT. Bounds memory, together with max_image_bytes: each holds a field that waits for its
    turn."""

    stream_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 3600.0
    """Time that a stream gets, in seconds, when its caller sets no deadline."""

    field_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Time that one field of a smear gets from its turn on, in seconds; then it has failed, and the smear goes on."""

    hedge_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Fields that may be analysed once more at the same time, where detector or classifier have replicas, as a share of
    all fields: those that take longer than 95% of the last hundred did. The first answer counts. None of batch
    priority; 0 for none at all."""

    cell_requests_in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests of one ClassifyCells stream that are held and answered at one time."""

    max_cell_image_side_px: Annotated[int, Field(ge=64, le=16_384)] = 4096
    """Longest side of an image of a located cell, in pixels. Larger images are fields: for AnalyzeField."""

    decode_threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Images of located cells that are in memory at one time, and threads that cut cells from them and encode crops."""

    unidentified_limit: Annotated[float, Field(ge=0, le=1)] = UNIDENTIFIED_LIMIT
    """Share of unidentified cells, 0 to 1, above which a result is flagged for review."""

    models_max_age_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """How long what the classifier said of its models is believed, in seconds."""

    rollout: Path | None = None
    """File of which versions of a model answer, see docs/operating.md; read again when it changes. Default: whichever
    model is asked for."""

    access: Path | None = None
    """File of who may call, see `hemaserve keys`; read again when it changes. Default: anybody may, on the loopback."""

    audit_log: Path | None = None
    """With `access`: file of who called what, one JSON object a line; begun again when it is moved away. Default:
    standard output."""

    audit_required: bool = False
    """Whether calls are refused while the audit log cannot be written."""

    quota_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Part of each client's quota that this replica grants: replicas do not count together, so give each of two 0.5."""

    quota_wait_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Longest time that a field of a stream waits for its client's quota, in seconds; then the stream is refused with
    RESOURCE_EXHAUSTED. Unary calls do not wait."""

    @property
    def downstream_tls(self) -> TlsFiles | None:
        """The files that detector and classifier are called with; None without TLS."""
        return None if self.tls_ca is None else TlsFiles(self.tls_certificate, self.tls_key, self.tls_ca)

    @model_validator(mode="after")
    def _check_downstream(self) -> Self:
        if self.tls_ca is not None and self.tls_certificate is None:
            raise ValueError(
                "tls_ca is given without tls_certificate and tls_key, which detector and classifier ask for"
            )
        return self

    @model_validator(mode="after")
    def _check_callers(self) -> Self:
        asks = self.access is not None or self.tls_client_ca is not None
        if not (asks or self.allow_insecure or is_loopback(self.listen)):
            raise ValueError(
                f"listen is {self.listen}, which other machines can reach, and anybody there could call: give access, "
                "a file made by `hemaserve keys`, or tls_client_ca, or listen on the loopback"
            )
        return self
