"""`hemaserve models`."""

import asyncio
import json
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from hemaserve.cli import connection, options
from hemaserve.cli.console import out
from hemaserve.cli.exits import errors_told
from hemaserve.client import DEFAULT_ADDRESS
from hemaserve.results import Model, as_json
from hemaserve.unshipped import UNSHIPPED


def models(
    address: options.Address = DEFAULT_ADDRESS,
    as_json_text: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """List the models that requests can name, with their licences and file digests.

    Examples:

        hemaserve models

        hemaserve models --json | jq '.[] | select(.ready) | .name'
    """
    options.check_address(address)
    with errors_told(address):
        found = asyncio.run(_list(address))
    if as_json_text:
        typer.echo(json.dumps(as_json(found), indent=2))
    else:
        out.print(_table(found))


async def _list(address: str) -> list[Model]:
    async with connection.client(address) as client:
        return await client.list_models()


def _table(found: list[Model]) -> Table:
    table = Table(box=SIMPLE)
    for heading in ("Name", "Ready", "Answers", "Licence", "SHA-256", "Title"):
        table.add_column(heading, no_wrap=heading in ("Name", "SHA-256"))
    for model in found:
        answers = f"{len(model.leaf_types)} types" if model.leaf_types else ", ".join(model.kinds)
        if model.explainable:
            answers += ", explainable"
        if model.screen_classes:
            answers = f"{model.task.value.replace('_', ' of ')}s: {', '.join(model.screen_classes)}"
        table.add_row(
            model.name + (" *" if model.is_default else ""),
            "yes" if model.ready else "[red]no[/]",
            answers,
            model.licence,
            model.source.sha256[:12],
            model.title,
        )
    table.caption = (
        "* used when a request names none. Other models of the repository are loaded when first asked for, where the "
        "stack's profile allows it. Not shipped, and made by `python -m training run NAME`: "
        + ", ".join(sorted(UNSHIPPED.keys() - {model.name for model in found}))
        + "."
    )
    return table
