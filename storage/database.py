"""Connections and schema versions: open, migrate, check, and begin transactions that never deadlock."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, inspect, text

from foundation.errors import UserError
from storage.errors import RecordRefusedError
from storage.files import prepare_file, read_only_address
from storage.models import Base
from storage.translate import translated
from storage.urls import parse_url, shown, sqlite_path

VERSION_TABLE = "yolov6_search_version"  # not Alembic's default name, which Optuna's databases use too
SQLITE_BUSY_SECONDS = 30.0
CONNECT_SECONDS = 10  # unless the address of a server says otherwise
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x594F4C36  # any number, the same in every program version


def open_engine(url: str, *, read_only: bool = False, must_exist: bool = False) -> Engine:
    """Connect to a database whose schema is current.

    Without `read_only` the database is created or migrated first; with it nothing is ever written, not even
    a migration; with `must_exist` it is migrated but never created. Raises UserError: bad URL, unreachable, not
    a database, other version, missing.
    """
    engine, _ = _opened(parse_url(url), read_only, must_exist)
    return engine


def memory_engine() -> Engine:
    """A new database in memory; its one connection serves one thread after the other."""
    engine = create_engine(
        "sqlite+pysqlite:///:memory:",
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=SQLITE_BUSY_SECONDS,
        connect_args={"check_same_thread": False},
        json_serializer=_to_json,
    )
    _own_transactions(engine, read_only=False)
    upgrade(engine)
    return engine


def upgrade_url(url: URL) -> tuple[str | None, str]:
    """Create or migrate the database at `url`; its versions before and after. Raises UserError."""
    engine, versions = _opened(url, read_only=False, must_exist=False)
    engine.dispose()
    return versions


def _opened(url: URL, read_only: bool, must_exist: bool) -> tuple[Engine, tuple[str | None, str]]:
    path = sqlite_path(url)
    if path is not None:
        prepare_file(path, read_only=read_only, must_exist=must_exist)
    engine = connect(url, read_only=read_only)
    try:
        with translated(url):
            if read_only:
                check_version(engine)
                return engine, (head_version(), head_version())
            if must_exist:
                require_search(engine)
            return engine, upgrade(engine)
    except BaseException:
        engine.dispose()
        raise


def connect(url: URL, *, read_only: bool = False) -> Engine:
    """An engine without any look at the schema. Raises UserError if the driver is not installed."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, read_only)
    try:
        arguments: dict[str, Any] = {}  # these would replace what the address says
        if "connect_timeout" not in url.query:
            arguments["connect_timeout"] = CONNECT_SECONDS
        if read_only:
            given = url.normalized_query.get("options", ())
            arguments["options"] = " ".join((*given, "-c default_transaction_read_only=on"))
        return create_engine(url, connect_args=arguments, json_serializer=_to_json)
    except ModuleNotFoundError:
        raise UserError(
            "PostgreSQL needs the package psycopg: pip install 'yolov6-search[postgres]'"
        ) from None


def schema_version(engine: Engine) -> str | None:
    """The version the database is at; None if it holds no search yet."""
    with engine.connect() as connection:
        return _current(connection)


def head_version() -> str:
    """The version this program writes."""
    head = _scripts().get_current_head()
    assert head is not None, "the package lacks its migrations"
    return head


def check_version(engine: Engine) -> None:
    """Raise UserError unless the database is at this program's version. Changes nothing."""
    with engine.connect() as connection:
        version = _known_version(connection)
    where = shown(engine.url)
    if version is None:
        raise _no_search(engine)
    if version != head_version():
        raise UserError(
            f"database {where} is at version {version}, this program reads version {head_version()}; "
            f"run python -m storage upgrade --storage {where}"
        )


def require_search(engine: Engine) -> None:
    """Raise UserError unless the database holds a search, of whatever version. Changes nothing."""
    if schema_version(engine) is None:
        raise _no_search(engine)


def _no_search(engine: Engine) -> UserError:
    return UserError(f"database {shown(engine.url)} holds no search yet; run python -m search.run first")


def upgrade(engine: Engine) -> tuple[str | None, str]:
    """Create or migrate the schema in one transaction; two programs may do it at once.

    Returns the versions before and after. Raises UserError for a newer or foreign database.
    """
    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        before = _known_version(connection)
        if before is None:
            _require_free(connection)
        if before != head_version():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _require_references(connection)
    return before, head_version()


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew; with foreign keys on, that would drop what refers to it."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")  # means nothing inside a transaction
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _require_references(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise UserError(
                f"database {shown(connection.engine.url)} cannot be upgraded: a row of {broken[0]} refers to a "
                f"missing row of {broken[2]}; nothing was changed, restore a copy"
            )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _current(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _known_version(connection: Connection) -> str | None:
    version = _current(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if version is not None and version not in known:
        raise UserError(
            f"database {shown(connection.engine.url)} is at version {version}, newer than this program "
            f"(version {head_version()}): upgrade the program"
        )
    return version


def _require_free(connection: Connection) -> None:
    """Someone else's tables are never mixed with ours."""
    present = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
    ours = present & set(Base.metadata.tables)
    foreign = present if connection.dialect.name == "sqlite" else ours
    if foreign:
        raise UserError(
            f"database {shown(connection.engine.url)} holds tables of another program "
            f"({', '.join(sorted(foreign)[:4])}); name another database"
        )


def _sqlite_engine(url: URL, read_only: bool) -> Engine:
    arguments: dict[str, Any] = {"timeout": SQLITE_BUSY_SECONDS}
    path = sqlite_path(url)
    assert path is not None
    if read_only:
        opener = _opener(read_only_address(path), arguments)
        engine = create_engine(url, creator=opener, json_serializer=_to_json)
    else:
        engine = create_engine(url, connect_args=arguments, json_serializer=_to_json)
    _own_transactions(engine, read_only)
    return engine


def _own_transactions(engine: Engine, read_only: bool) -> None:
    # The driver's own transaction handling begins too late and too weakly; ours begins at once. A writer
    # takes the write lock at the start (IMMEDIATE), so no transaction has to be upgraded half-way, which
    # SQLite would refuse with "database is locked" without waiting.
    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            _use_wal(cursor)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if read_only or options.get("reading", False):
            connection.exec_driver_sql("BEGIN")
            return
        # A power cut must not drop a finished trial. Waiting for the disk at every claim and lease as well
        # would cost most of the speed, and what those say is worth nothing after a power cut.
        safe = options.get("durable", True)
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if safe else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_wal(cursor: sqlite3.Cursor) -> None:
    # Changing a new file to WAL is refused at once, whatever the timeout, while another connection reads it.
    until = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() >= until:
                raise
        time.sleep(0.02)


def _to_json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)  # PostgreSQL would refuse NaN, SQLite keep it
    except (TypeError, ValueError) as error:
        raise RecordRefusedError(f"cannot be stored as JSON: {error}") from None


def _opener(address: str, arguments: dict[str, Any]) -> Callable[[], Any]:
    def connect_read_only() -> Any:
        return sqlite3.connect(address, uri=True, check_same_thread=False, **arguments)

    return connect_read_only
