"""Other people's servers with the same pipeline. `python -m benchmarks.peers --help`; README.md here says more."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import call_load, images
from benchmarks.call_load import Plan, closed_loop
from benchmarks.machine import facts
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.checking import SHARES, agreement, answers
from benchmarks.peers.comparing import a_peer, claims, compare, our_stack
from benchmarks.peers.loads import per_second, scenarios
from benchmarks.peers.running import PeerError, install, peer
from benchmarks.peers.settings import Settings

FIELDS = 24


def _install(arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        install(name)
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    with peer(arguments.name) as running:
        print(f"{arguments.name} answers at http://{running.target.address}", flush=True)
        running.root.wait()
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Exit status 1 when one of them disagrees with ours about more than it may."""
    files = images.fields(arguments.fields).files
    failed = False
    with our_stack() as ours:
        expected = answers(ours.target, files)
        for name in arguments.names:
            with a_peer(name) as theirs:
                found = agreement(expected, answers(theirs.target, files))
            fine = found.share <= SHARES[name]
            failed |= not fine
            print(
                f"{name}: {'agrees' if fine else 'DISAGREES'}, {len(found.disagreements)} disagreements about "
                f"{found.cells} cells in {found.fields} fields; allowed: {SHARES[name]:.0%} of the cells"
            )
            for sentence in found.disagreements:
                print(f"  {sentence}")
    return int(failed)


def _tune(arguments: argparse.Namespace) -> int:
    """Fields a second of a peer with several settings, best of two rounds."""
    files = images.fields(FIELDS).files
    for told in arguments.settings:
        settings = Settings(**json.loads(told))
        with a_peer(arguments.name, settings) as contender:
            plan = Plan(contender.target, files)
            call_load.generate(closed_loop, plan, 2.0, arguments.at_once)
            rounds = [
                per_second(call_load.generate(closed_loop, plan, arguments.seconds, arguments.at_once))
                for _ in range(2)
            ]
            print(
                f"{arguments.name} {told}: {max(rounds):.1f} fields/s, {contender.memory_mb():.0f} MB",
                flush=True,
            )
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    fields = images.fields(FIELDS)
    todo = scenarios(at_once=arguments.at_once, callers=arguments.callers, rate=arguments.rate)
    document = _started(arguments.json, fields.facts())
    with our_stack() as ours:
        our_answers = answers(ours.target, fields.files)
        for name in arguments.names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            document["peers"][name] = compare(
                name, ours, fields, our_answers, todo, rounds=arguments.rounds, seconds=arguments.seconds
            )
            document["claims"] = claims(document["peers"])
            # After each one: a run that is cut short is not all lost.
            if arguments.json:
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    Console(width=140).print(_table(document))
    for each in document["claims"]:
        print(
            f"{'holds' if each['holds'] else 'FAILS'}: {each['claim']}: {each['measured']} (bar: {each['bar']})"
        )
    return 0


def _started(path: Path | None, fields: dict[str, Any]) -> dict[str, Any]:
    """What earlier runs on this machine with these fields found about other peers, to be added to."""
    document = {
        "command": "python -m benchmarks peers compare",
        **facts(),
        "claims": [],
        "images": fields,
        "peers": {},
    }
    if path is not None and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["images"] == fields and before["cpu"] == document["cpu"]:
            document["peers"] = before["peers"]
            document["claims"] = claims(document["peers"])
    return document


def _table(document: dict[str, Any]) -> Table:
    table = Table(title="Medians of the rounds; ours and each peer in turns", title_justify="left")
    table.add_column("Peer")
    headings = (
        *("fields/s", "ours", "ratio", "mixed fields/s", "ours", "ratio"),
        *("p99 ms", "ours", "STAT p99 ms", "ours", "CPU ms/field", "ours", "MB", "ours"),
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, each in document["peers"].items():
        cells: list[Any] = []
        for scenario in ("saturation", "mixed"):
            cells += [each[scenario][side]["fields_per_second"]["median"] for side in ("theirs", "ours")]
            cells.append(f"{each[scenario]['ratio']['median']:.2f}")
        for calls in ("all", "stat"):
            cells += [each["mixed"][side][calls].get("p99_ms", "") for side in ("theirs", "ours")]
        cells += [each["saturation"][side]["cpu_ms_per_field"] for side in ("theirs", "ours")]
        cells += [each["memory_mb"][side] for side in ("theirs", "ours")]
        table.add_row(name, *map(str, cells))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Any, what: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=what)
        added.set_defaults(run=run)
        return added

    def names(of: argparse.ArgumentParser) -> None:
        of.add_argument(
            "names", nargs="*", default=list(PEERS), metavar="NAME", help=f"of {', '.join(PEERS)}; all"
        )

    names(command("install", _install, "make peers' environments"))
    command("serve", _serve, "run a peer until Ctrl-C").add_argument("name", choices=list(PEERS))
    check = command("check", _check, "whether peers give the same answers as ours")
    names(check)
    check.add_argument("--fields", type=int, default=FIELDS, help="how many are compared")
    tune = command("tune", _tune, "a peer with several settings")
    tune.add_argument("name", choices=list(PEERS))
    tune.add_argument("settings", nargs="+", help="as JSON, see settings.py")
    tune.add_argument("--seconds", type=float, default=4.0, help="of a round")
    tune.add_argument("--at-once", type=int, default=16, help="calls at a time")
    comparison = command("compare", _compare, "peers and ours under the same load in turns")
    names(comparison)
    comparison.add_argument("--rounds", type=int, default=3, help="of each pair")
    comparison.add_argument("--seconds", type=float, default=6.0, help="of a round")
    comparison.add_argument("--at-once", type=int, default=16, help="calls at a time at saturation")
    comparison.add_argument("--callers", type=int, default=64, help="of mixed load")
    comparison.add_argument(
        "--rate", type=float, default=0.0, help="calls a second at random moments as well"
    )
    comparison.add_argument("--json", type=Path, metavar="FILE", help="add the figures to those in this file")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 2 when a peer cannot be installed or run."""
    told = _parser().parse_args(arguments)
    try:
        return int(told.run(told))
    except PeerError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
