"""What the stack holds does not grow under load."""

import pytest

from benchmarks.soak import measure

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(420)
def test_three_minutes_of_load_leave_memory_handles_and_threads_as_they_were():
    # Slow: growth shows only over time. Three minutes find what loses a megabyte in ten fields, of a thousand that
    # there are; `python -m benchmarks.soak` finds less in longer runs.
    figures = measure(minutes=3, profile="default", fields_per_second=1.5)
    assert figures["failures"] == []
    assert figures["looks"] >= 30
    assert figures["fields"] >= 60
