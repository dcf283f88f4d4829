"""Passwords, however they are written, are seen nowhere."""

import pytest

from foundation.errors import UserError
from foundation.secrets import mask
from storage import Repository
from storage.files import prepare_file, read_only_address
from storage.urls import parse_url, shown


@pytest.mark.parametrize(
    "password", ["p@ssw0rd!", "hun:ter@2", "sla/sh@ed", "p%40ssw0rd", "two@@ats", "plainword"]
)
def test_a_password_of_any_letters_is_parsed_and_masked(password):
    url = f"postgresql://bob:{password}@db.example:5432/search?connect_timeout=5"
    parsed = parse_url(url)
    assert parsed.host == "db.example" and parsed.username == "bob" and parsed.database == "search"
    assert parsed.password == password.replace("%40", "@")
    assert shown(parsed) == "postgresql://bob:***@db.example:5432/search?connect_timeout=5"
    for text in (url, f"cannot resolve {password}", f"failed at {parsed.password}!"):
        assert password not in mask(text) and parsed.password not in mask(text)


@pytest.mark.parametrize("address", ["pa/s?s@wd12@db/x", "pa?s@wd12/x@db/name", "pa?s@wd12@db/name"])
def test_a_password_that_ends_too_early_is_refused_unseen(address):
    with pytest.raises(UserError, match=r"percent-encode|not a database URL") as refusal:
        parse_url(f"postgresql://bob:{address}")
    assert "wd12" not in str(refusal.value) and "pa" not in str(refusal.value).replace("password", "")


def test_errors_of_the_driver_show_no_part_of_it():
    with pytest.raises(UserError) as refusal:
        Repository.open("postgresql://bob:hun@ter2secret@127.0.0.1:1/db")
    text = str(refusal.value)
    assert "ter2secret" not in text and "hun" not in text and "bob:***@127.0.0.1" in text


def test_an_address_without_a_password_stays_as_it_is():
    assert shown(parse_url("postgresql://bob@db/x?application_name=a@b")).startswith("postgresql://bob@db/x")
    assert shown(parse_url("sqlite:///runs/search.db")) == "sqlite:///runs/search.db"


def test_a_read_only_folder_is_said_before_sqlite_fails(tmp_path, monkeypatch):
    path = tmp_path / "search.db"
    path.touch()
    monkeypatch.setattr("storage.files.os.access", lambda place, mode: place != tmp_path)
    with pytest.raises(UserError, match=r"the folder .* is read-only .*; copy it to a place you may write"):
        prepare_file(path, read_only=False, must_exist=False)
    prepare_file(path, read_only=True, must_exist=True)
    assert read_only_address(path).endswith("?mode=ro&immutable=1")
    (tmp_path / "search.db-wal").write_text("changes")
    with pytest.raises(UserError, match="changes not merged yet"):
        read_only_address(path)


def test_must_exist_never_creates(tmp_path):
    with pytest.raises(UserError, match="there is no database"):
        Repository.open(f"sqlite:///{tmp_path}/none.db", must_exist=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(UserError, match="holds no search yet"):
        Repository.open(f"sqlite:///{tmp_path}/empty.db", must_exist=True)
    assert not (tmp_path / "none.db").exists()
