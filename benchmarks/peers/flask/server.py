"""Flask and PyTorch eager.

`flask_development` is what the literature's apps do: `app.run()`, whose threads share PyTorch's. `flask` is what the
documentation advises for production (https://flask.palletsprojects.com/en/stable/deploying/gunicorn/): gunicorn, with
as many workers as cores, each with one thread of PyTorch.
"""

import os
import sys
from pathlib import Path

from benchmarks.peers.settings import Settings


def main() -> None:
    settings = Settings.from_environment()
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    os.execv(
        gunicorn,
        [
            gunicorn,
            *("--workers", str(settings.processes)),
            *("--bind", f"127.0.0.1:{settings.port}"),
            *("--timeout", "120", "--log-level", "warning"),
            "benchmarks.peers.flask.app:create_app()",
        ],
    )


if __name__ == "__main__":
    main()
