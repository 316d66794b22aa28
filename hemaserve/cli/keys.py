"""`hemaserve keys`: who may call a secured gateway."""

import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.box import SIMPLE
from rich.table import Table

from hemaserve.access import Access, ApiKey, Client, Quota, Role, UnusableAccessFile
from hemaserve.access.editing import NoSuchKey, change, read, revoked, with_key
from hemaserve.access.file import NAME_RULE, is_client_name
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import EXIT_CODES_HELP
from hemaserve.paths import access_file

_HELP: Final = """Make, list and revoke the API keys of clients, in an access file.

A gateway that is given the file lets in nobody else:

    hemaserve keys add analyzer-3 --role analyze > analyzer-3.key

    hemaserve up --access ~/.config/hemaserve/access.json

    hemaserve analyze smear/ --api-key-file analyzer-3.key

Changes take effect at the next call; nothing is started again. Roles: `analyze` may send fields and cells, `review` may
have cells explained, `operate` may look at the service; all may list models. Several keys of one client are good at one
time: to rotate, add the new one, hand it out, and revoke the old one. The file is JSON and may be edited; it also holds
quotas of roles, and OIDC issuers whose tokens are taken.
"""

app = typer.Typer(help=_HELP, epilog=EXIT_CODES_HELP, no_args_is_help=True, rich_markup_mode="markdown")

File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="HEMASERVE_ACCESS_FILE",
        metavar="FILE",
        dir_okay=False,
        help="The access file. Default: ~/.config/hemaserve/access.json.",
    ),
]


def _limit(flag: str, what: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        flag,
        metavar="N",
        min=1,
        help=f"{what} that the client may send in a minute. Default: its role's quota.",
    )
    return option


@app.command(epilog=EXIT_CODES_HELP)
def add(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The client: an instrument, a program, a site.")
    ],
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", help="What it may do; again for more. Needed for a new client."),
    ] = None,
    expires_in_days: Annotated[
        int | None,
        typer.Option("--expires-in-days", metavar="N", min=1, help="Days the key is good. Default: no end."),
    ] = None,
    requests: Annotated[int | None, _limit("--requests-per-minute", "Requests")] = None,
    fields: Annotated[int | None, _limit("--fields-per-minute", "Fields")] = None,
    size: Annotated[int | None, _limit("--bytes-per-minute", "Bytes")] = None,
    certificate: Annotated[
        list[str] | None,
        typer.Option(
            "--certificate", metavar="NAME", help="A name in its certificate that proves it as well."
        ),
    ] = None,
    file: File = None,
) -> None:
    """Give a client, new or known, one more key. The key is printed once; only its digest is kept.

    Examples:

        hemaserve keys add analyzer-3 --role analyze --fields-per-minute 120

        hemaserve keys add reading-room --role review --expires-in-days 90 > reading-room.key
    """
    if not is_client_name(name):
        raise typer.BadParameter(f"{name!r}; allowed: {NAME_RULE}", param_hint="NAME")
    given = (requests, fields, size)
    now = datetime.now(UTC)
    made: list[tuple[str, Client]] = []

    def edit(access: Access) -> Access:
        changed, key = with_key(
            access,
            name,
            now=now,
            roles=role or (),
            quota=None if given == (None, None, None) else Quota(requests, fields, size),
            certificates=certificate or (),
            expires_at=None if expires_in_days is None else now + timedelta(days=expires_in_days),
        )
        made.append((key, next(client for client in changed.clients if client.name == name)))
        return changed

    path = file or access_file()
    with _told():
        change(path, edit)
    key, client = made[0]
    err.print(
        f"{name}, roles {', '.join(sorted(client.roles))}, in {path}. This is its new key; it cannot be shown again:",
        highlight=False,
    )
    typer.echo(key)


@app.command("list", epilog=EXIT_CODES_HELP)
def list_keys(
    as_json_text: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    file: File = None,
) -> None:
    """List clients and their keys, the revoked and expired ones too; never the keys themselves.

    Examples:

        hemaserve keys list

        hemaserve keys list --json | jq '.[] | select(.state == "good") | .id'
    """
    with _told():
        access = read(file or access_file())
    rows = [row for client in access.clients for row in _rows(client)]
    if as_json_text:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        out.print(_table(rows))
    else:
        out.print("No clients yet; make one with: hemaserve keys add NAME --role analyze", highlight=False)


@app.command(epilog=EXIT_CODES_HELP)
def revoke(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="The key's id, or a client's name for all it has, certificates too."
        ),
    ],
    file: File = None,
) -> None:
    """Revoke a key, or all that a client has; refused from the next call on.

    Examples:

        hemaserve keys revoke 0f3a9c2e7b1d

        hemaserve keys revoke analyzer-3
    """
    path = file or access_file()
    with _told():
        if not path.exists():
            raise NoSuchKey(name)
        change(path, lambda access: revoked(access, name, now=datetime.now(UTC)))
    out.print(f"{name} is revoked", highlight=False)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What is wrong with the file or the arguments is a usage error."""
    try:
        yield
    except NoSuchKey as error:
        there = "no key or client"
        raise typer.BadParameter(
            f"{there} {str(error)!r}; see: hemaserve keys list", param_hint="ID"
        ) from None
    except UnusableAccessFile as error:
        raise typer.BadParameter(str(error), param_hint="--file") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--role") from None
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}", param_hint="--file") from None


def _rows(client: Client) -> list[dict[str, str]]:
    of_client = {"client": client.name, "roles": ", ".join(sorted(client.roles))}
    keys = [
        of_client
        | {
            "kind": "key",
            "id": key.key_id,
            "state": _state(key),
            "created": _day(key.created_at),
            "expires": _day(key.expires_at),
        }
        for key in client.keys
    ]
    certificates = [
        of_client | {"kind": "certificate", "id": name, "state": "good", "created": "", "expires": ""}
        for name in client.certificates
    ]
    return keys + certificates


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "good"


def _day(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d}"


def _table(rows: list[dict[str, str]]) -> Table:
    table = Table(box=SIMPLE)
    for heading in rows[0]:
        table.add_column(heading.capitalize())
    for row in rows:
        table.add_row(*row.values())
    return table
