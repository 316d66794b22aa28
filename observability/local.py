"""Prometheus with all rules, on a stack that runs on this machine, until Ctrl-C.

hemaserve up --ready-file ready.json
python -m observability.local ready.json
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from observability.prometheus import NotStarted, running, targets


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m observability.local",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ready_file", type=Path, help="what `hemaserve up --ready-file` wrote")
    parser.add_argument("--data", type=Path, help="folder to keep its data in; by default it is thrown away")
    parser.add_argument("--port", type=int, default=9090)
    arguments = parser.parse_args()
    if not arguments.ready_file.is_file():
        raise SystemExit(f"{arguments.ready_file}: no such file; see `hemaserve up --ready-file`")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with running(folder, targets(arguments.ready_file), port=arguments.port) as prometheus:
                sys.stdout.write(
                    f"Prometheus is ready at {prometheus.url}, its alerts at {prometheus.url}/alerts\n"
                )
                sys.stdout.flush()
                signal.sigwait({signal.SIGINT, signal.SIGTERM})
        except NotStarted as failure:
            raise SystemExit(str(failure)) from None


if __name__ == "__main__":
    main()
