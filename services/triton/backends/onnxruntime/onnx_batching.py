"""Joins the inputs of several requests, runs a network once, and gives every request its own rows back.

Pure: NumPy in, NumPy out, no Triton. A request is a mapping from input name to an array whose first axis counts its
rows; all inputs of one request have the same number of rows. The answer to a request has that many rows too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
"""Arrays by input or output name."""

Run = Callable[[Tensors], Tensors]
"""Runs a network on arrays joined along axis 0; raises on failure."""

Answer = Tensors | Exception
"""What one request gets: its outputs, or why it failed."""


def rows_of(tensors: Tensors) -> int:
    """Number of rows (size of axis 0) that all ``tensors`` share.

    Raises:
        ValueError: there is no tensor, a scalar, no row, or the tensors disagree.
    """
    rows = {array.shape[0] if array.ndim else 0 for array in tensors.values()}
    if len(rows) != 1:
        raise ValueError(f"inputs of one request differ in rows: {_shapes(tensors)}")
    (count,) = rows
    if count < 1:
        raise ValueError(f"a request needs at least one row: {_shapes(tensors)}")
    return int(count)


def groups(requests: Sequence[Tensors]) -> Iterator[list[int]]:
    """Indices of requests that may be joined: same inputs, same types, same dims after the first.

    Order within a group is the order of the requests; groups come in the order of their first member.
    """
    by_signature: dict[object, list[int]] = {}
    for index, tensors in enumerate(requests):
        signature = tuple(sorted((name, a.dtype.str, a.shape[1:]) for name, a in tensors.items()))
        by_signature.setdefault(signature, []).append(index)
    yield from by_signature.values()


def join(requests: Sequence[Tensors]) -> Tensors:
    """One array per input, all requests' rows one after the other. A single request is passed on uncopied."""
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([tensors[name] for tensors in requests]) for name in requests[0]}


def split(outputs: Tensors, rows: Sequence[int]) -> list[Tensors]:
    """Inverse of :func:`join`: the ``rows[i]`` rows of request ``i``, as views.

    Raises:
        RuntimeError: an output does not have ``sum(rows)`` rows. Passing such an answer on would give one caller the
            rows of another, so nobody gets any.
    """
    total = sum(rows)
    for name, array in outputs.items():
        if not array.ndim or array.shape[0] != total:
            raise RuntimeError(f"output '{name}' has shape {list(array.shape)} for {total} rows of input")
    answers: list[Tensors] = []
    start = 0
    for count in rows:
        answers.append({name: array[start : start + count] for name, array in outputs.items()})
        start += count
    return answers


def run_together(run: Run, requests: Sequence[Tensors]) -> list[Answer]:
    """Answers every request, running the network as few times as their shapes allow.

    Where a joint run fails its members are run one by one, so that a bad request fails alone.

    Returns:
        For each request, in order, its outputs or the exception that it caused.
    """
    answers: list[Answer] = [RuntimeError("not run")] * len(requests)
    sound: list[int] = []
    rows: dict[int, int] = {}
    for index, tensors in enumerate(requests):
        try:
            rows[index] = rows_of(tensors)
            sound.append(index)
        except ValueError as error:
            answers[index] = error
    for group in groups([requests[index] for index in sound]):
        members = [sound[position] for position in group]
        try:
            parts = split(run(join([requests[m] for m in members])), [rows[m] for m in members])
        except Exception as error:  # whatever a runtime raises must not reach the other requests
            if len(members) == 1:
                answers[members[0]] = error
            else:
                for member in members:
                    answers[member] = run_alone(run, requests[member], rows[member])
            continue
        for member, part in zip(members, parts, strict=True):
            answers[member] = part
    return answers


def run_alone(run: Run, tensors: Tensors, rows: int | None = None) -> Answer:
    """Answers one request by a run of its own; with ``rows`` (batching) every output must have as many."""
    try:
        outputs = run(tensors)
        return outputs if rows is None else split(outputs, [rows])[0]
    except Exception as error:
        return error


def _shapes(tensors: Tensors) -> dict[str, list[int]]:
    return {name: list(array.shape) for name, array in tensors.items()}
