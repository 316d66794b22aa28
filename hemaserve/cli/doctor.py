"""`hemaserve doctor`."""

import asyncio
import json
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.padding import Padding

from hemaserve.cli import connection, options
from hemaserve.cli.console import out
from hemaserve.cli.exits import ExitCode
from hemaserve.client import DEFAULT_ADDRESS, Backoff, Client
from hemaserve.doctor.examination import Questions, examine
from hemaserve.doctor.findings import Check, Finding, State
from hemaserve.doctor.service import WITHIN_S
from hemaserve.results import as_json

_MARKS: Final = {
    State.WELL: "[green]well[/]",
    State.NOTE: "[yellow]note[/]",
    State.WRONG: "[bold red]wrong[/]",
    State.SKIPPED: "[dim]skipped[/]",
}
_ON_THE_WAY: Final = (Check.NAME, Check.REACH, Check.TLS)


def doctor(
    where: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS]", help="The gateway's address, as in --address.", show_default=False
        ),
    ] = None,
    address: options.Address = DEFAULT_ADDRESS,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics", metavar="URL", help="A metrics endpoint, e.g. http://HOST:9101/metrics; repeat it."
        ),
    ] = None,
    closed: Annotated[
        list[str] | None,
        typer.Option(
            "--closed",
            metavar="HOST:PORT",
            help="What must not be reachable from here, such as Triton's ports or the detector's; repeat it.",
        ),
    ] = None,
    within: Annotated[
        float,
        typer.Option("--within", metavar="SECONDS", min=0.001, help="What the answer to a field may take."),
    ] = WITHIN_S,
    as_json_text: Annotated[bool, typer.Option("--json", help="Print all findings as JSON.")] = False,
) -> None:
    """Examine a deployment from outside, and say what is wrong with it, why that matters and what to do.

    Looks at the gateway's name, port and certificate; whether it lets in who calls, is healthy and of this version;
    whether its networks are there, are the committed ones and are rolled out as meant; whether detector and
    classifier answer; whether a generated field whose cells are known is answered right and in time; whether large
    photographs come through; what is left of the caller's quota; and what metrics endpoints say. It changes nothing,
    takes a few fields of the quota, and shows no key.

    Exit codes: 0 nothing is wrong (notes may be given); 1 something is; 2 wrong arguments; 3 the gateway cannot be
    reached; 5 it does not let in who calls.

    Examples:

        hemaserve doctor

        hemaserve doctor lab.example:50051 --tls-ca tls/ca.crt --api-key-file analyzer-3.key

        hemaserve doctor --metrics http://127.0.0.1:9101/metrics --closed lab.example:8001 --json
    """
    chosen = options.check_address(where or address)
    for place in closed or ():
        options.check_listen(place)

    def client() -> Client:
        return connection.client(chosen, timeout_s=20.0, connect_timeout_s=5.0, backoff=Backoff(attempts=1))

    asked = Questions(
        chosen,
        client,
        tls=connection.tls_paths(),
        shows_who=connection.shows_who(),
        metrics=tuple(metrics or ()),
        closed=tuple(closed or ()),
        within_s=within,
    )
    findings = asyncio.run(_examined(asked, tell=not as_json_text))
    if as_json_text:
        typer.echo(json.dumps({"address": chosen, "findings": as_json(findings)}, indent=2))
    code = exit_code(findings)
    if not as_json_text:
        counts = {state: sum(finding.state is state for finding in findings) for state in State}
        out.print(
            ", ".join(f"{count} {state.value}" for state, count in counts.items() if count), highlight=False
        )
    if code is not ExitCode.OK:
        raise typer.Exit(code)


async def _examined(asked: Questions, *, tell: bool) -> list[Finding]:
    findings = []
    async for finding in examine(asked):
        findings.append(finding)
        if tell:
            _tell(finding)
    return findings


def _tell(finding: Finding) -> None:
    out.print(f"{_MARKS[finding.state]}  {finding.check.value}: {escape(finding.what)}", highlight=False)
    for heading, text in (("Why it matters", finding.why), ("What to do", finding.to_do)):
        if text:
            out.print(Padding(f"{heading}: {escape(text)}", (0, 0, 0, 7)), highlight=False)


def exit_code(findings: list[Finding]) -> ExitCode:
    """What the command exits with."""
    wrong = [finding.check for finding in findings if finding.state is State.WRONG]
    if Check.ACCESS in wrong:
        return ExitCode.DENIED
    reached = any(
        finding.check not in (*_ON_THE_WAY, Check.METRICS, Check.CLOCK, Check.CLOSED) for finding in findings
    )
    if not reached and any(check in _ON_THE_WAY for check in wrong):
        return ExitCode.UNREACHABLE
    return ExitCode.INCOMPLETE if wrong else ExitCode.OK
