"""What is told of samples."""

from benchmarks.speed.profile import told


def test_functions_are_told_by_where_time_is_spent_and_threads_that_wait_are_left_out():
    samples = [
        "main (a.py:1);work (a.py:2) 3",
        "main (a.py:1) 1",
        "main (a.py:1);EpollSelector.select (selectors.py:468) 96",
    ]
    (first, second) = told(samples, 5)
    assert first.split() == ["75.0%", "work", "(a.py:2)", "100.0%", "main", "(a.py:1)"]
    assert second.split() == ["25.0%", "main", "(a.py:1)", "75.0%", "work", "(a.py:2)"]
