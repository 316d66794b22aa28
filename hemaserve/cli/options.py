"""Options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hemaserve.addresses import AddressError, may_have_replicas, replicas
from hemaserve.cells import Kind

Address = Annotated[
    str,
    typer.Option(
        "--address",
        "-a",
        envvar="HEMASERVE_ADDRESS",
        metavar="HOST:PORT",
        help="The gateway's address; of several gateways IP:PORT,IP:PORT or dns:///NAME:PORT.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Classification model, see `hemaserve models`. Default: the stack's."),
]
DetectorModel = Annotated[
    str | None,
    typer.Option("--detector-model", help="Detection model, see `hemaserve models`. Default: the stack's."),
]
Kinds = Annotated[
    str,
    typer.Option(
        "--kinds",
        metavar="KIND,...",
        help="Kinds whose cells are classified and returned: wbc, rbc, platelet. Default: wbc.",
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="FILE", help="Write everything as JSON, with provenance; `-` is standard output."
    ),
]
SiteProfile = Annotated[
    str | None,
    typer.Option(
        "--site-profile",
        metavar="NAME",
        help="Correct the colours of this laboratory, see `hemaserve profiles`. Default: no correction.",
    ),
]


class StackProfile(StrEnum):
    """What the stack's `--profile` takes."""

    TINY = "tiny"
    DEFAULT = "default"
    FULL = "full"


Profile = Annotated[
    StackProfile | None,
    typer.Option(
        "--profile",
        help="What is loaded, and how much memory that takes; see `hemaserve up --help`. Default: default.",
    ),
]
Profiles = Annotated[
    Path | None,
    typer.Option(
        "--profiles",
        metavar="DIR",
        file_okay=False,
        help="Folder of the site profiles. Default: ~/.local/share/hemaserve/site_profiles.",
    ),
]
Screen = Annotated[
    bool,
    typer.Option(
        "--screen",
        help="Run the leukemia screen as well: it flags fields and cells to look at, and diagnoses nothing.",
    ),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Write a picture of each field's cells with heat maps too: what the networks went by. Needs --picture.",
    ),
]
PictureDir = Annotated[
    Path | None,
    typer.Option(
        "--picture", metavar="DIR", file_okay=False, help="Write an annotated picture of each field there."
    ),
]


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """The kinds named in a comma-separated list.

    Raises:
        typer.BadParameter: a name is unknown.
    """
    try:
        return tuple(Kind(word.strip().lower()) for word in text.split(",") if word.strip())
    except ValueError:
        known = ", ".join(kind.value for kind in Kind)
        raise typer.BadParameter(f"{text!r}: known kinds are {known}", param_hint="--kinds") from None


def check_address(address: str) -> str:
    """The gateway's address, if it is one; see `hemaserve.addresses`.

    Raises:
        typer.BadParameter: it is not.
    """
    try:
        replicas(address)
    except AddressError as error:
        raise typer.BadParameter(str(error), param_hint="--address") from None
    return address


def check_listen(address: str) -> str:
    """The address to listen on, if it is one `host:port`.

    Raises:
        typer.BadParameter: it is not.
    """
    if may_have_replicas(check_address(address)):
        raise typer.BadParameter(f"{address!r} is not one HOST:PORT", param_hint="--address")
    return address
