"""Settings of the embedded Triton, from ``HEMASERVE_TRITON_*`` variables or the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def split_names(value: object) -> object:
    """The names in a text, between its commas; anything else as it is."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


class TritonSettings(BaseSettings):
    """How to start the embedded Triton."""

    model_config = SettingsConfigDict(
        env_prefix="HEMASERVE_TRITON_",
        use_attribute_docstrings=True,
        cli_prog_name="python -m services.triton",
        cli_kebab_case=True,
        frozen=True,
    )

    repository: Path = Path("model_repository")
    """Triton's model repository."""

    config_name: str = "embedded"
    """Which of each model's configs/<name>.pbtxt to use; a model without it uses its config.pbtxt."""

    models: Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_names)] = ()
    """Models to load, separated by commas; an ensemble brings its members. Empty: all of the repository."""

    host: Literal["127.0.0.1", "0.0.0.0"] = "127.0.0.1"  # noqa: S104 - only as allow_insecure allows
    """Where to listen: the loopback, or, in a container of its own, all addresses."""

    allow_insecure: bool = False
    """Whether to listen beyond the loopback: this Triton has no TLS, asks nobody who they are and is of 2024. Only
    where nothing but detector and classifier can reach it, as behind a network policy."""

    grpc_port: Annotated[int, Field(ge=0, le=65535)] = 8001
    """gRPC port; 0 picks a free one."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """HTTP port; 0 picks a free one."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """Port of Triton's own Prometheus metrics; 0 picks a free one."""

    cache: Path | None = None
    """Folder for the assembled backend directory and compiled networks; by default the user's cache folder."""

    compiled_cache: bool = False
    """Keep compiled networks in the cache folder: saves a quarter of a second for each instance at start. Off, because
    instances of one model, which are processes, then read and write the same files at once."""

    lean: bool = False
    """Take as little memory as possible: few threads, and memory goes back to the system as soon as it is free, which
    costs time. For configurations such as configs/tiny.pbtxt."""

    auto_complete: bool = False
    """Let backends complete configurations that lack inputs or outputs. Costs one more process per model at start."""

    ready_timeout_s: Annotated[float, Field(gt=0)] = 180.0
    """How long to wait for all models to be loaded, in seconds."""

    stop_timeout_s: Annotated[float, Field(gt=0)] = 15.0
    """How long Triton may take to finish inferences in flight when stopped, in seconds."""

    stuck_after_s: Annotated[float, Field(gt=0)] = 15.0
    """Kill Triton and start it again when it has taken no request to infer for this long, in seconds: its own health
    does not tell, and it takes them however busy its networks are."""

    restart_delay_s: Annotated[float, Field(gt=0)] = 0.5
    """Wait before Triton is started again after it died, in seconds; doubled each time it dies soon after."""

    restart_delay_max_s: Annotated[float, Field(gt=0)] = 30.0
    """Upper limit of that wait, in seconds."""

    trace_url: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    """Where spans of requests are sent to by OTLP over HTTP, e.g. `http://127.0.0.1:4318/v1/traces`: of those requests
    that belong to a trace that is recorded. Empty: nowhere."""

    log_verbose: Annotated[int, Field(ge=0)] = 0
    """Triton's verbosity; 0 is off, 1 and more log every request."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged when run in the foreground."""

    log_format: Literal["json", "text"] = "text"
    """`json`: one object a line; `text`: for people."""

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if self.host != "127.0.0.1" and not self.allow_insecure:
            raise ValueError(
                f"host is {self.host}, which other machines can reach, and Triton asks nobody who they are: listen on "
                "127.0.0.1, or set allow_insecure where only detector and classifier can reach it"
            )
        return self
