"""`python -m services.gateway`: the gateway, until SIGTERM."""

from pydantic_settings import CliApp

from services.gateway.application import service
from services.gateway.settings import GatewaySettings
from services.runtime.process import run


def main() -> None:
    """Serve with settings from flags and the environment."""
    run(service(CliApp.run(GatewaySettings)))


if __name__ == "__main__":
    main()
