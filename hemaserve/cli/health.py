"""`hemaserve health`."""

import asyncio

import typer

from hemaserve.cli import connection, options
from hemaserve.cli.console import out
from hemaserve.cli.exits import ExitCode, errors_told
from hemaserve.client import DEFAULT_ADDRESS
from hemaserve.results import Health


def health(address: options.Address = DEFAULT_ADDRESS) -> None:
    """Say whether the stack answers at this moment: exit code 0 yes, 1 it is there but not ready, 3 not there.

    Examples:

        hemaserve health

        until hemaserve health; do sleep 1; done
    """
    options.check_address(address)
    with errors_told(address):
        state = asyncio.run(_ask(address))
    out.print(f"{state.address} {'is ready' if state.serving else 'is not ready'}", highlight=False)
    if not state.serving:
        raise typer.Exit(ExitCode.INCOMPLETE)


async def _ask(address: str) -> Health:
    async with connection.client(address, timeout_s=5.0) as client:
        return await client.health()
