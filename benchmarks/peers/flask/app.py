"""The Flask app. `python -m benchmarks.peers.flask.app` runs it as the literature does."""

from pathlib import Path

from flask import Flask, Response, request

from benchmarks.peers.description import Description
from benchmarks.peers.flask.torch_networks import TorchNetworks
from benchmarks.peers.serving import warm
from benchmarks.peers.settings import Settings


def create_app() -> Flask:
    """The app, with its networks loaded."""
    settings = Settings.from_environment()
    description = Description.read(Path(settings.pipeline))
    pipeline = warm(description, TorchNetworks(description, threads=settings.threads))
    app = Flask(__name__)

    @app.get("/ready")
    def ready() -> str:
        return ""

    @app.post("/analyze")
    def analyze() -> Response:
        (answer,) = pipeline.analyze([request.get_data()])
        return Response(answer.to_json(), mimetype="application/json")

    return app


def main() -> None:
    create_app().run(host="127.0.0.1", port=Settings.from_environment().port)


if __name__ == "__main__":
    main()
