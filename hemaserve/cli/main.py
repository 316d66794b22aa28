"""The `hemaserve` command."""

from typing import Final

import typer

from hemaserve.cli import evaluate, keys
from hemaserve.cli.adapt import adapt
from hemaserve.cli.analyze import analyze
from hemaserve.cli.certificates import certificates
from hemaserve.cli.connection import connects
from hemaserve.cli.demo import demo
from hemaserve.cli.doctor import doctor
from hemaserve.cli.exits import EXIT_CODES_HELP
from hemaserve.cli.health import health
from hemaserve.cli.models import models
from hemaserve.cli.profiles import profiles
from hemaserve.cli.up import up
from hemaserve.cli.version import version

_HELP: Final = """White-cell differentials from photographs of blood smears.

Start with `hemaserve demo`: it starts the whole stack, analyses a sample and shows where the picture is. For your own
images run `hemaserve up` in one terminal and `hemaserve analyze PATH...` in another.

Every result is preliminary: research and verification use only, not a medical device.
"""

app = typer.Typer(
    name="hemaserve",
    help=_HELP,
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (
    up,
    connects(analyze),
    connects(adapt),
    connects(profiles),
    demo,
    connects(models),
    connects(health),
    connects(doctor),
    certificates,
    version,
):
    app.command(epilog=EXIT_CODES_HELP)(command)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(keys.app, name="keys")
