"""Finds the cells of a field with a detection network in Triton, and cuts them out."""
