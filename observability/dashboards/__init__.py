"""All dashboards: Grafana's files, pictures, and tests are made of them."""

from typing import Final

from observability.dashboards.models import MODELS
from observability.dashboards.overview import OVERVIEW
from observability.dashboards.services import SERVICES
from observability.dashboards.triton import TRITON

__all__ = ["DASHBOARDS", "MODELS", "OVERVIEW", "SERVICES", "TRITON"]

DASHBOARDS: Final = (OVERVIEW, SERVICES, TRITON, MODELS)
