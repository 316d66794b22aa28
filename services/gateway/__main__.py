"""`python -m services.gateway`: the gateway, until SIGTERM."""

from pydantic_settings import CliApp

from services.gateway.application import open_application
from services.gateway.settings import GatewaySettings
from services.runtime.server import run


def main() -> None:
    """Serve with settings from flags and the environment."""
    settings = CliApp.run(GatewaySettings)
    run(settings, lambda: open_application(settings), name="gateway")


if __name__ == "__main__":
    main()
