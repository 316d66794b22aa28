"""A short run of random faults: nothing is lost, duplicated or mixed up."""

import asyncio

import pytest

from benchmarks.faults import measure, parser

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.timeout(420)
def test_half_a_minute_of_faults_harms_no_answer(tmp_path):
    # Slow: two of every process have to start, and to recover from each fault.
    words = ["--minutes", "0.5", "--every", "3", "--samples", "12", "--seed", "5", "--tls"]
    figures = asyncio.run(measure(parser().parse_args(words), tmp_path))
    assert figures["problems"] == []
    assert figures["never_whole"] == 0
    assert figures["faults"] >= 3
    assert figures["fields"] > 20
