"""How addresses are written in settings."""

from typing import Annotated

from pydantic import Field

Address = Annotated[str, Field(pattern=r"^\S+:\d{1,5}$", examples=["127.0.0.1:50051"])]
