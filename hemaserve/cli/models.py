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

        hemaserve models --json | jq '.[] | select(.rollout) | {name, rollout}'
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
    parts = _parts(found)
    headings = ("Name", "Ready", "Answers", "Licence", "SHA-256", "Title")
    for heading in (*headings[:2], "Answers for", *headings[2:]) if parts else headings:
        table.add_column(heading, no_wrap=heading in ("Name", "SHA-256"))
    for model in found:
        if model.on_request:
            cells = (model.name, "when asked", *([""] if parts else []), *[""] * 4)
            table.add_row(*cells, style="dim")
            continue
        answers = f"{len(model.leaf_types)} types" if model.leaf_types else ", ".join(model.kinds)
        if model.explainable:
            answers += ", explainable"
        if model.screen_classes:
            answers = f"{model.task.value.replace('_', ' of ')}s: {', '.join(model.screen_classes)}"
        table.add_row(
            model.name + (" *" if model.is_default else ""),
            "yes" if model.ready else "[red]no[/]",
            *([parts.get(model.name, "")] if parts else []),
            answers,
            model.licence,
            model.source.sha256[:12],
            model.title,
        )
    table.caption = (
        '* used when a request names none. "When asked": in the repository, and loaded when a request names it. '
        "Not shipped, and made by `python -m training run NAME`: "
        + ", ".join(sorted(UNSHIPPED.keys() - {model.name for model in found}))
        + "."
    )
    return table


def _parts(found: list[Model]) -> dict[str, str]:
    """What each version answers for, in words, by its name; empty where none is rolled out."""
    parts: dict[str, list[str]] = {}
    for model in found:
        rollout = model.rollout
        if rollout is None:
            continue
        parts.setdefault(rollout.stable, []).append(f"{1 - rollout.share:.4g} of {model.name}")
        if rollout.candidate:
            told = f"{rollout.share:.4g} of {model.name}"
            shadowed = f", shadow of {rollout.shadow_share:.4g} of the others" if rollout.shadow_share else ""
            parts.setdefault(rollout.candidate, []).append(told + shadowed)
        for missing in rollout.missing:
            parts.setdefault(model.name, []).append(f"[red]{missing} is not there, others answer for it[/]")
    return {name: "; ".join(words) for name, words in parts.items()}
