"""`python -m benchmarks`."""

import ast
import importlib.util
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main, overview


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_is_a_module_with_a_main_and_words_that_teach(name):
    module, _ = BENCHMARKS[name]
    # Read, not imported: some need what is installed for them alone.
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
    assert ast.get_docstring(tree)
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def test_without_a_name_all_are_listed(capsys):
    main([])
    told = capsys.readouterr().out
    assert told.strip() == overview().strip()
    assert all(f"  {name} " in told for name in BENCHMARKS)


def test_an_unknown_name_is_told_with_those_that_there_are():
    with pytest.raises(SystemExit, match=r"no benchmark 'nothing'; there are bars, "):
        main(["nothing"])
