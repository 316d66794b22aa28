"""Imports the scripts under test."""

from ..docs.conftest import script

__all__ = ["script"]
