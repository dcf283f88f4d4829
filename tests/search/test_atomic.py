"""A kill in the midst of a write leaves the file as it was, and its leftovers go when the next run begins."""

from pathlib import Path

import pytest

from search.atomic import remove_leftovers, write_text_whole, written_whole


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_text_whole(path, "old")
    with pytest.raises(ValueError, match="stop"), written_whole(path) as file:
        file.write(b"half")
        raise ValueError("stop")
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"] and path.read_text() == "old"
    write_text_whole(path, "new, ä")
    assert path.read_text() == "new, ä"


def test_only_leftovers_go(tmp_path: Path) -> None:
    kept = {"checkpoint.pt", ".checkpoint.pt", ".hidden.cfg", "weights.12"}
    for name in (*kept, ".checkpoint.pt.123", ".weights.safetensors.77"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.1").mkdir()
    remove_leftovers(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {*kept, ".folder.1"}
