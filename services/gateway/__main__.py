"""`python -m services.gateway`: the gateway, until SIGTERM."""

from services.gateway.application import service
from services.gateway.settings import GatewaySettings
from services.runtime.process import read_settings, run


def main() -> None:
    """Serve with settings from flags and the environment."""
    run(service(read_settings(GatewaySettings)))


if __name__ == "__main__":
    main()
