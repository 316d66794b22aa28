"""`python -m services.classifier`: the classifier, until SIGTERM."""

from pydantic_settings import CliApp

from services.classifier.application import service
from services.classifier.settings import ClassifierSettings
from services.runtime.process import run


def main() -> None:
    """Serve with settings from flags and the environment."""
    run(service(CliApp.run(ClassifierSettings)))


if __name__ == "__main__":
    main()
