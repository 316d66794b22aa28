"""`python -m services.stack`: the whole stack in the foreground, until Ctrl-C or SIGTERM.

Exit status: 0 stopped as asked; 2 wrong flags; 3 it cannot run here (packages, machine, port); 4 it did not get ready.
"""

import asyncio
import os
import sys

from services.stack.requirements import CannotRun, check_free, check_packages


def main(arguments: list[str] | None = None) -> None:
    """Run the stack with settings from `arguments` (by default the command line) and the environment."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        elsewhere = "HEMASERVE_STACK_TRITON" in os.environ or any(
            word.startswith("--triton") for word in words
        )
        check_packages(embedded=not elsewhere)
        asyncio.run(_run(words))
    except CannotRun as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(3)


async def _run(words: list[str]) -> None:
    # Only now: these need the packages that were just checked.
    from pydantic_settings import CliApp  # noqa: PLC0415

    from services.stack.access import check_access, check_rollout  # noqa: PLC0415
    from services.stack.settings import StackSettings  # noqa: PLC0415
    from services.stack.stack import NotReady, Stack  # noqa: PLC0415

    settings = CliApp.run(StackSettings, cli_args=words)
    check_free(settings.address)
    check_access(settings)
    check_rollout(settings)
    try:
        await Stack(settings, _say).run()
    except NotReady as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(4)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
