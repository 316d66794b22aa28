"""``python -m services.detector``: the detector service, until SIGTERM."""

from pydantic_settings import CliApp

from services.detector.application import service
from services.detector.settings import DetectorSettings
from services.runtime.process import run


def main() -> None:
    """Serve with settings from flags and the environment."""
    run(service(CliApp.run(DetectorSettings)))


if __name__ == "__main__":
    main()
