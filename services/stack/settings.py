"""What the stack can be told, by flags or environment variables (HEMASERVE_STACK_...)."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hemaserve.addresses import is_ip
from hemaserve.paths import site_profiles_folder
from services.runtime.addresses import Address, ReplicatedAddress
from services.stack.profiles import PROFILES, Profile, ProfileName
from services.stack.requirements import model_repository
from services.stack.tls import TlsFolder
from services.triton.settings import split_names


def _log_dir() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "hemaserve" / "logs"


class StackSettings(BaseSettings):
    """Run NVIDIA Triton and HemaServe's three services on this machine, until Ctrl-C."""

    model_config = SettingsConfigDict(
        env_prefix="HEMASERVE_STACK_",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_prog_name="hemaserve up",
        extra="ignore",
    )

    address: Address = "127.0.0.1:50051"
    """Where the gateway listens. Everything else listens on free ports of the loopback."""

    tls: Path | None = None
    """Folder made by `hemaserve certificates`: TLS at the gateway, and mutual TLS between the services."""

    client_certificates: bool = True
    """Whether, with `tls`, clients of the gateway must show a certificate."""

    allow_insecure: bool = False
    """Whether the gateway may listen beyond the loopback without TLS; only where something else encrypts."""

    access: Path | None = None
    """File of who may call the gateway, made by `hemaserve keys`. Default: anybody who can reach it."""

    rollout: Path | None = None
    """File of which versions of a model answer; the gateway reads it again when it changes. Default: whichever model is
    asked for."""

    model_repository: Path = Field(default_factory=model_repository)
    """Triton's model repository."""

    profile: ProfileName = ProfileName.DEFAULT
    """`tiny`: small networks and no others, everything below 300 MB after work. `default`: the ensemble and its
    detector; others of the repository, such as those of the leukemia screen, are loaded when they are first asked for.
    `full`: all of the repository at the start."""

    models: Annotated[tuple[str, ...] | None, NoDecode, BeforeValidator(split_names)] = None
    """Models to load at the start in place of the profile's, separated by commas; an ensemble brings its members.
    Empty: all of them."""

    site_profiles: Path = Field(default_factory=site_profiles_folder)
    """Folder of site profiles, where `hemaserve adapt` leaves them."""

    replicas: Annotated[int, Field(ge=1, le=8)] = 1
    """How many of each process. The first gateway listens at `address`, the others on free ports beside it."""

    triton: ReplicatedAddress | None = None
    """gRPC address of a Triton that runs already, e.g. in a container, or of several; by default one is started."""

    log_dir: Path = Field(default_factory=_log_dir)
    """Folder for a log file of each process."""

    verbose: bool = False
    """Show all logs on the terminal, for people, instead of writing them to files."""

    ready_file: Path | None = None
    """JSON file to write when all is ready: addresses and process ids. Removed at the end."""

    ready_timeout_s: Annotated[float, Field(gt=0)] = 240.0
    """How long to wait for everything to be ready, in seconds."""

    drain_grace_s: Annotated[float, Field(ge=0)] = 5.0
    """When stopping: how long calls in progress may take to finish, in seconds."""

    @model_validator(mode="after")
    def _gateways_can_be_listed(self) -> Self:
        host, _, _ = self.address.rpartition(":")
        if self.replicas > 1 and not is_ip(host):
            raise ValueError(
                f"address: {self.address!r}; with replicas it is IP:PORT, because clients get a list"
            )
        return self

    @property
    def tls_folder(self) -> TlsFolder | None:
        """The folder of certificates; None without TLS."""
        return None if self.tls is None else TlsFolder(self.tls.absolute())

    @property
    def makeup(self) -> Profile:
        """The profile, with `models` in place of its own where they are given."""
        profile = PROFILES[self.profile]
        return profile if self.models is None else replace(profile, models=self.models)
