"""``python -m services.detector``: the detector service, until SIGTERM."""

from services.detector.application import service
from services.detector.settings import DetectorSettings
from services.runtime.process import read_settings, run


def main() -> None:
    """Serve with settings from flags and the environment."""
    run(service(read_settings(DetectorSettings)))


if __name__ == "__main__":
    main()
