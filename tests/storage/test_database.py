"""Opening: schema versions, migrations, and everything that can be wrong with a database."""

import json
import shutil
import sqlite3
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, Boolean, DateTime, MetaData, create_engine, insert, text
from sqlalchemy.exc import OperationalError

from foundation.errors import UserError
from storage import Repository, TrialState, url_default
from storage.database import VERSION_TABLE, _config, connect, head_version, open_engine
from storage.models import Base
from storage.translate import is_passing, translated
from storage.urls import STORAGE_VARIABLE, mask, parse_url, shown
from tests.storage.demo import seed_demo

VERSIONS = sorted((Path(__file__).parent / "versions").glob("*.sql"))


def dump_into_postgres(sql: Path, path: Path, url: str) -> str:
    """The kept database, made by PostgreSQL's migrations up to its version and filled with its rows."""
    dump(sql, path)
    kept = sqlite3.connect(path)
    kept.row_factory = sqlite3.Row
    engine = connect(parse_url(url))
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, sql.stem)
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name == VERSION_TABLE:
                continue
            rows = [
                {column.name: _as_postgres(column, row[column.name]) for column in table.columns}
                for row in kept.execute(f"SELECT * FROM {table.name}")
            ]
            if rows:
                connection.execute(insert(table), rows)
    engine.dispose()
    kept.close()
    return url


def _as_postgres(column, value):
    if isinstance(column.type, JSON) and value is not None:
        return json.loads(value)
    if isinstance(column.type, DateTime) and value is not None:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    assert not isinstance(column.type, Boolean)
    return value


def dump(sql: Path, path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.executescript(sql.read_text())
    connection.close()
    return f"sqlite:///{path}"


def test_the_migrations_make_exactly_the_models(url):
    engine = open_engine(url)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_every_version_has_a_database_to_upgrade():
    assert VERSIONS[-1].stem == head_version()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("sql", VERSIONS, ids=lambda path: path.stem)
def test_old_databases_are_upgraded_with_everything_in_them(sql, kind, tmp_path, request):
    url = dump(sql, tmp_path / "old.db")
    if kind == "postgresql":
        url = dump_into_postgres(sql, tmp_path / "old2.db", request.getfixturevalue("postgres_url"))
    with Repository.open(url) as repository:
        assert repository.version() == head_version()
        assert repository.problems() == []
        study = repository.get_study("kept")
        assert repository.count_by_state(study.id) == {
            TrialState.WAITING: 1,
            TrialState.RUNNING: 1,
            TrialState.FINISHED: 6,
            TrialState.INFEASIBLE: 3,
            TrialState.FAILED: 1,
        }
        official = repository.trials(study.id)[0]
        assert official.name == "YOLOv6-N" and official.deployed_latency is not None
        assert official.deployed_latency.median_ms == 8.1
        assert len(repository.samples_ms(official.deployed_latency.id)) == 30


def test_opening_twice_changes_nothing(url):
    with Repository.open(url) as first:
        seed_demo(first, trials=6)
        before = first.trials(1)
    with Repository.open(url) as again:
        assert again.trials(1) == before


def test_many_may_open_a_new_database_at_once(url):
    errors = []
    start = threading.Barrier(6)

    def open_it() -> None:
        start.wait()
        try:
            Repository.open(url).close()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_new_file_that_somebody_writes_is_waited_for(tmp_path):
    path = tmp_path / "search.db"
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")  # SQLite refuses the change to WAL at once, without waiting
    release = threading.Timer(0.3, writer.close)
    release.start()
    Repository.open(f"sqlite:///{path}").close()
    release.join()


def test_sqlite_is_in_wal_mode_with_foreign_keys(sqlite_url):
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) >= 10_000
    engine.dispose()


@pytest.mark.parametrize("read_only", [False, True])
def test_newer_version_says_to_upgrade_the_program(url, read_only):
    Repository.open(url).close()
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(UserError, match=r"at version 9999, newer than this program .*: upgrade the program"):
        Repository.open(url, read_only=read_only)


def test_read_only_never_creates(tmp_path):
    missing = tmp_path / "none.db"
    with pytest.raises(UserError, match="there is no database at"):
        Repository.open(f"sqlite:///{missing}", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_read_only_does_not_touch_an_empty_database(url, tmp_path):
    if url.startswith("sqlite"):
        (tmp_path / "search.db").touch()
    with pytest.raises(UserError, match="holds no search yet"):
        Repository.open(url, read_only=True)
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        assert not engine.dialect.get_table_names(connection)
    engine.dispose()


def test_tables_of_another_program_are_left_alone(tmp_path):
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"tables of another program \(studies\)"):
        Repository.open(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["studies"]
    connection.close()
    assert len(before) == path.stat().st_size


def test_not_a_database(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are only my notes, not a database\n" * 40)
    for read_only in (False, True):
        with pytest.raises(UserError, match="is not an SQLite database"):
            Repository.open(f"sqlite:///{path}", read_only=read_only)
    assert path.read_text().startswith("these are only my notes")


def test_a_folder_is_not_a_database(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        Repository.open(f"sqlite:///{tmp_path}")


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        Repository.open(f"sqlite:///{tmp_path}/runs/search.db")


def test_full_disk_is_said_and_nothing_is_lost(sqlite_url):
    with Repository.open(sqlite_url) as repository:
        study = seed_demo(repository, trials=5)
        before = repository.trials(study.id)
        # one connection serves this test, so the limit of pages stands in for the end of the disk
        with repository._engine.connect() as connection:
            pages = connection.scalar(text("PRAGMA page_count"))
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(UserError, match="no space left on the device"):
            repository.add_trial(study.id, "big", {"padding": "x" * 1_000_000})
        assert repository.trials(study.id) == before


def test_damaged_file_is_said(sqlite_url, tmp_path):
    with Repository.open(sqlite_url) as repository:
        seed_demo(repository, trials=12)
    path = tmp_path / "search.db"
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(bytes(content))
    with (
        pytest.raises(UserError, match="is damaged"),
        Repository.open(sqlite_url, read_only=True) as repository,
    ):
        repository.trials(1)


def test_deleted_while_open_is_still_readable_until_it_is_closed(sqlite_url, tmp_path):
    with Repository.open(sqlite_url) as repository:
        study = seed_demo(repository, trials=4)
        shutil.rmtree(tmp_path)
        assert len(repository.trials(study.id)) == 4
    with pytest.raises(UserError, match="there is no database"):
        Repository.open(sqlite_url, read_only=True)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("search.db", "is not a database URL; write for example sqlite:///"),
        ("", "is not a database URL"),
        ("mysql://bob:hunter2@host/db", "databases of kind 'mysql' are not supported"),
        ("sqlite://", "needs a database that lasts"),
        ("sqlite:///:memory:", "needs a database that lasts"),
        ("postgresql://bob:hunter2@127.0.0.1:port/db", "is not a database URL"),
        ("postgresql://bob:hunter2@127.0.0.1:1/db", "cannot be reached"),
    ],
)
def test_bad_addresses_say_what_to_write_and_show_no_password(bad, message):
    with pytest.raises(UserError, match=message) as refusal:
        Repository.open(bad)
    assert "hunter2" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value))


def test_missing_postgres_database_is_said(postgres_server):
    with pytest.raises(UserError, match=r"no_such_db.*(does not exist|no such database)"):
        Repository.open(postgres_server.replace("/postgres?", "/no_such_db?"))


def test_the_address_may_say_how_to_connect(postgres_url):
    Repository.open(postgres_url).close()
    url = parse_url(f"{postgres_url}&options=-csearch_path=pg_temp,public&connect_timeout=3")
    for read_only in (False, True):
        engine = connect(url, read_only=read_only)
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW search_path")) == "pg_temp,public"
            assert connection.scalar(text("SHOW default_transaction_read_only")) == ("off", "on")[read_only]
            driver = connection.connection.driver_connection
            assert driver.info.get_parameters()["connect_timeout"] == "3"
        engine.dispose()


@pytest.mark.parametrize(
    ("said", "hint", "passing"),
    [
        ('FATAL:  password authentication failed for user "bob"', "refuses the password", False),
        ('FATAL:  role "bob" does not exist', "refuses this user", False),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "refuses this user", False),
        ('FATAL:  database "x" does not exist', "has no such database", False),
        ("FATAL:  sorry, too many clients already", "too many connections", True),
        ("FATAL:  the database system is starting up", "is starting up", True),
        ("Connection refused", "is the server running", True),
    ],
)
def test_a_refused_connection_is_told_from_a_lost_one(said, hint, passing):
    # psycopg gives no code when connecting fails, only this text
    cause = psycopg.OperationalError(
        f'connection failed: connection to server at "h", port 5432 failed: {said}'
    )
    error = OperationalError(None, None, cause)
    url = parse_url("postgresql://bob@h/x")
    assert is_passing(error, url) is passing
    with pytest.raises(UserError, match=hint), translated(url):
        raise error


def test_password_is_masked_where_the_address_is_shown(postgres_url):
    with Repository.open(postgres_url.replace("postgres:@", "postgres:hunter2@")) as repository:
        assert "hunter2" not in repository.url
        assert "postgres:***@" in repository.url


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at postgresql://bob:pa:ss@h:5/x now", "at postgresql://bob:***@h:5/x now"),
        ("postgresql+psycopg://:secret@h/x", "postgresql+psycopg://:***@h/x"),
        ("host=h password=secret dbname=x", "host=h password=*** dbname=x"),
        ("see https://host:80/a@b and sqlite:///runs/search.db", None),
    ],
)
def test_masking(text, masked):
    assert mask(text) == (text if masked is None else masked)


def test_default_address(monkeypatch):
    monkeypatch.delenv(STORAGE_VARIABLE, raising=False)
    assert url_default() == "sqlite:///runs/search.db"
    assert shown(parse_url(url_default())) == url_default()
