"""NVIDIA's load generator: whether it is there, and what it says."""

import numpy as np
import pytest

from benchmarks.speed import perf_analyzer

SAYS = "Concurrency,Inferences/Second,Client Send\n4,512.25,10\n"


def write(folder, script):
    for name in perf_analyzer.WANTED:
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)


def ask(path):
    crops = np.zeros((2, 96, 96, 3), np.uint8)
    return perf_analyzer.crops_per_second(path, "x:1", "ensemble", crops, batch=8, concurrency=4, seconds=1)


def test_it_is_there_only_with_the_libraries_that_it_needs(tmp_path):
    assert perf_analyzer.program(tmp_path) is None
    write(tmp_path, "")
    assert perf_analyzer.program(tmp_path) == tmp_path / "perf_analyzer"
    (tmp_path / "libb64.so.0d").unlink()
    assert perf_analyzer.program(tmp_path) is None


def test_its_report_is_read(tmp_path):
    # The report's path is what follows -f.
    write(tmp_path, f'#!/bin/sh\nwhile [ "$1" != -f ]; do shift; done\nprintf "{SAYS}" > "$2"\n')
    assert ask(perf_analyzer.program(tmp_path)) == 512.25


def test_its_failure_is_told_in_its_own_words(tmp_path):
    write(tmp_path, "#!/bin/sh\necho no such model >&2\nexit 99\n")
    with pytest.raises(SystemExit, match="no such model"):
        ask(perf_analyzer.program(tmp_path))
