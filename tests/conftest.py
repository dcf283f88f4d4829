"""Test processes run side by side, so each computes with one thread; the longest file begins first."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, also by child processes
LONGEST = "test_end_to_end.py"  # whole searches: begun last, it would keep one process busy alone


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files keep their order (with --no-loadscope-reorder), but the longest goes first."""
    items.sort(key=lambda item: item.path.name != LONGEST)
