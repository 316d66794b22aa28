"""`hemaserve profiles`."""

import asyncio
import json
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from hemaserve.cli import connection, options
from hemaserve.cli.console import out
from hemaserve.cli.exits import errors_told
from hemaserve.client import DEFAULT_ADDRESS, Client
from hemaserve.results import SiteProfile, as_json


def profiles(
    address: options.Address = DEFAULT_ADDRESS,
    as_json_text: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the site profiles that requests can name with --site-profile; `hemaserve adapt` makes them.

    Examples:

        hemaserve profiles

        hemaserve profiles --json | jq '.[].name'
    """
    options.check_address(address)
    with errors_told(address):
        found = asyncio.run(_list(address))
    if as_json_text:
        typer.echo(json.dumps(as_json(found), indent=2))
    elif found:
        out.print(_table(found))
    else:
        out.print("No site profiles yet; make one with: hemaserve adapt DIR --name NAME", highlight=False)


async def check_profile(client: Client, name: str | None) -> None:
    """Return when the stack has the profile, or none is named: many fields shall not fail for one misspelt name.

    Raises:
        typer.BadParameter: it has not; the message says which ones it has.
    """
    if not name:
        return
    names = [profile.name for profile in await client.list_site_profiles()]
    if name not in names:
        there_are = ", ".join(names) or "none; make one with `hemaserve adapt`"
        raise typer.BadParameter(
            f"no site profile {name!r}; there are: {there_are}", param_hint="--site-profile"
        )


async def _list(address: str) -> list[SiteProfile]:
    async with connection.client(address) as client:
        return await client.list_site_profiles()


def _table(found: list[SiteProfile]) -> Table:
    table = Table(box=SIMPLE)
    for heading in ("Name", "Learned", "Fields", "White cells", "SHA-256"):
        table.add_column(heading, justify="right" if heading in {"Fields", "White cells"} else "left")
    for profile in found:
        learned = "" if profile.created_at is None else f"{profile.created_at:%Y-%m-%d %H:%M} UTC"
        table.add_row(
            profile.name, learned, str(profile.fields), str(profile.white_cells), profile.sha256[:12]
        )
    return table
