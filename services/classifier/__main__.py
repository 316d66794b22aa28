"""`python -m services.classifier`: the classifier, until SIGTERM."""

from pydantic_settings import CliApp

from services.classifier.application import open_application
from services.classifier.settings import ClassifierSettings
from services.runtime.memory import return_large_blocks
from services.runtime.server import run

if __name__ == "__main__":
    settings = CliApp.run(ClassifierSettings)
    return_large_blocks()
    run(settings, lambda: open_application(settings), name="classifier")
