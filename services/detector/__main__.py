"""``python -m services.detector``: the detector service, until SIGTERM."""

from pydantic_settings import CliApp

from services.detector.application import open_application
from services.detector.settings import DetectorSettings
from services.runtime.memory import return_large_blocks
from services.runtime.server import run


def main() -> None:
    """Serve with settings from flags and the environment."""
    settings = CliApp.run(DetectorSettings)
    return_large_blocks()
    run(settings, lambda: open_application(settings), name="detector")


if __name__ == "__main__":
    main()
