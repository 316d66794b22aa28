"""Seldon's MLServer."""
