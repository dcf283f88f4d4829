"""A database to look at."""

import sys
from pathlib import Path

import pytest

from storage import Repository
from tests.storage.demo import seed_demo


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what Streamlit's AppTest replaces: processes that later tests start would run the dashboard first."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="session")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("dashboard") / "demo.db"
    url = f"sqlite:///{path}"
    with Repository.open(url) as repository:
        seed_demo(repository, "older", trials=6, seed=2)
        seed_demo(repository, "demo")
    return url
