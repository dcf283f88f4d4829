"""The page without a browser: what it says for every kind of database."""

import sqlite3
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import dashboard
from charts.published import published_points
from storage import Repository
from storage.database import VERSION_TABLE
from storage.front import best_feasible

APP = Path(dashboard.__file__).with_name("app.py")


@pytest.fixture
def open_page(monkeypatch):
    def open_it(url: str, **query: str) -> AppTest:
        monkeypatch.setenv("YOLOV6_SEARCH_STORAGE", url)
        page = AppTest.from_file(str(APP), default_timeout=60)
        for name, value in query.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    return open_it


def shown_metrics(page):
    return {metric.label: metric.value for metric in page.metric}


def test_newest_study_with_its_key_figures(demo_url, open_page):
    page = open_page(demo_url)
    assert page.selectbox[0].value == "demo"
    with Repository.open(demo_url, read_only=True) as repository:
        trials = repository.trials(repository.get_study("demo").id)
    best = best_feasible(trials)
    shown = shown_metrics(page)
    assert shown["Best AP within the limit"] == f"{best.deployed.ap:.3f}"
    assert shown["Its latency"] == f"{best.deployed_latency.median_ms:.2f} ms"
    assert shown["Latency limit"] == "8.8 ms"
    assert int(shown["Finished"]) == sum(t.state == "finished" for t in trials)
    table = page.dataframe[0].value
    assert list(table["trial"]) == [t.number for t in trials]
    assert list(table["reason"]) == [t.reason or "" for t in trials]


def test_study_of_the_address_and_of_the_picker(demo_url, open_page):
    page = open_page(demo_url, study="older")
    assert page.selectbox[0].value == "older"
    assert len(page.dataframe[0].value) == 6
    page.selectbox[0].select("demo").run()
    assert page.query_params["study"] == "demo"
    assert len(page.dataframe[0].value) == 42


def test_unknown_study_in_the_address_falls_back_to_the_newest(demo_url, open_page):
    assert open_page(demo_url, study="gone").selectbox[0].value == "demo"


def test_published_figures_are_marked(demo_url, open_page):
    page = open_page(demo_url)
    assert "not comparable" in page.expander[0].label
    assert list(page.dataframe[-1].value["variant"]) == [point.name for point in published_points()]


def test_published_points_belong_to_one_table():
    points = {point.name: point for point in published_points()}
    assert points["YOLOv6-S"].ap == pytest.approx(0.435)  # paper, Table 1
    assert points["YOLOv6-S"].latency_ms == 2.8
    assert all("Tesla T4" in point.source for point in points.values())


def test_missing_database(tmp_path, open_page):
    page = open_page(f"sqlite:///{tmp_path}/none.db")
    assert "there is no database" in page.info[0].value
    assert list(tmp_path.iterdir()) == []


def test_empty_database(tmp_path, open_page):
    url = f"sqlite:///{tmp_path}/empty.db"
    Repository.open(url).close()
    assert "The database is empty" in open_page(url).info[0].value


def test_study_without_trials(tmp_path, open_page):
    url = f"sqlite:///{tmp_path}/fresh.db"
    with Repository.open(url) as repository:
        repository.create_study("fresh", {})
    page = open_page(url)
    assert "no trials yet" in page.info[0].value
    assert shown_metrics(page)["Latency limit"] == "none"


def test_newer_database(tmp_path, open_page):
    path = tmp_path / "newer.db"
    Repository.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.close()
    assert "upgrade the program" in open_page(f"sqlite:///{path}").info[0].value


def test_no_password_on_the_page(open_page):
    page = open_page("postgresql://bob:hunter2@127.0.0.1:1/db")
    assert "cannot be reached" in page.info[0].value
    assert "hunter2" not in str(page)


def test_looking_does_not_write(demo_url, open_page):
    path = Path(demo_url.removeprefix("sqlite:///"))
    before = path.read_bytes()
    open_page(demo_url)
    assert path.read_bytes() == before
