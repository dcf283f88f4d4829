"""Writes the database of the present schema version, to be kept when the schema moves on.

    python -m tests.storage.make_version

Run it once for a version, before it is released; never again after.
"""

import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from storage import Repository
from storage.database import head_version
from tests.storage.demo import seed_demo

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "search.db"
    with Repository.open(f"sqlite:///{path}", now=lambda: datetime(2026, 1, 1, tzinfo=UTC)) as repository:
        seed_demo(repository, "kept", trials=12, owner="worker:1:1.00")
    connection = sqlite3.connect(path)
    target = Path(__file__).parent / "versions" / f"{head_version()}.sql"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(connection.iterdump()) + "\n")
    connection.close()
    print(f"{target.name}: {target.stat().st_size} bytes")
