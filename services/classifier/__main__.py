"""`python -m services.classifier`: the classifier, until SIGTERM."""

from services.classifier.application import service
from services.classifier.settings import ClassifierSettings
from services.runtime.process import read_settings, run


def main() -> None:
    """Serve with settings from flags and the environment."""
    run(service(read_settings(ClassifierSettings)))


if __name__ == "__main__":
    main()
