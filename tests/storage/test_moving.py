"""Studies move between databases in one file, and leave for Optuna."""

import dataclasses
import gzip
import json

import optuna
import pytest

from foundation.errors import UserError
from storage import Repository, TrialState
from storage.moving import export_study, import_study
from storage.optuna_journal import export_optuna
from tests.storage.demo import seed_demo
from tests.storage.test_main import storage

NEW_IDS = {"id", "evaluation_id", "environment_id", "trial_id"}


def without_ids(value):
    """A record as plain values, without what another database numbers anew."""
    if isinstance(value, dict):
        return {key: without_ids(inner) for key, inner in value.items() if key not in NEW_IDS}
    if isinstance(value, (list, tuple)):
        return [without_ids(inner) for inner in value]
    return value


def told(repository, name):
    study = repository.get_study(name)
    trials = repository.trials(study.id)
    samples = [repository.samples_ms(t.latency.id) if t.latency else None for t in trials]
    artefacts = [[without_ids(dataclasses.asdict(a)) for a in repository.artefacts(t.id)] for t in trials]
    return [without_ids(dataclasses.asdict(trial)) for trial in trials], samples, artefacts


@pytest.fixture
def file(tmp_path):
    with Repository.in_memory() as source:
        seed_demo(source, "older", trials=4, seed=2)
        study = seed_demo(source)
        source.add_event(study.id, "note", "kept at postgresql://bob:hunter2@db/x")
        export_study(source, "demo", tmp_path / "demo.study.gz")
        yield source, tmp_path / "demo.study.gz"


def test_a_study_arrives_with_everything(repository, file):
    source, path = file
    import_study(repository, path, name="here before")  # shares candidates, environments and artefacts
    assert import_study(repository, path) == ("demo", 42)
    before, after = told(source, "demo"), told(repository, "demo")
    running = [index for index, trial in enumerate(before[0]) if trial["state"] is TrialState.RUNNING]
    for index in running:  # nobody holds it here
        before[0][index] |= {"state": TrialState.WAITING, "owner": None, "started_at": None}
    assert running and after == before
    kinds = [e.kind for e in repository.events(repository.get_study("demo").id)]
    assert kinds == [e.kind for e in source.events(source.get_study("demo").id)] + ["imported"]
    assert repository.problems() == []


def test_a_name_that_is_taken_is_refused_and_another_helps(repository, file):
    _, path = file
    import_study(repository, path)
    with pytest.raises(UserError, match=r"'demo' is already in .*--as NAME"):
        import_study(repository, path)
    assert import_study(repository, path, name="again")[0] == "again"
    assert {study.name for study in repository.list_studies()} == {"demo", "again"}


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_a_file_cut_off_imports_nothing(repository, file, cut):
    path = file[1]
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[: int(len(lines) * cut)])))
    with pytest.raises(UserError, match="damaged"):
        import_study(repository, path)
    raw = gzip.compress(b"".join(lines))
    path.write_bytes(raw[: int(len(raw) * cut)])
    with pytest.raises(UserError, match="damaged"):
        import_study(repository, path)
    assert repository.list_studies() == []


def test_other_files_and_versions_are_refused(repository, tmp_path, file):
    other = tmp_path / "notes.txt"
    other.write_text("only notes")
    with pytest.raises(UserError, match="not an exported study"):
        import_study(repository, other)
    with pytest.raises(UserError, match="there is no file"):
        import_study(repository, tmp_path / "none")
    text = gzip.decompress(file[1].read_bytes()).replace(b'"version": "0', b'"version": "9', 1)
    other.write_bytes(gzip.compress(text))
    with pytest.raises(UserError, match="of version 9"):
        import_study(repository, other)


def test_no_password_leaves_with_a_file(file):
    text = gzip.decompress(file[1].read_bytes()).decode()
    assert "hunter2" not in text and "postgresql://bob:***@db/x" in text


def test_optuna_reads_the_journal(file, tmp_path):
    source, _ = file
    journal = tmp_path / "demo.log"
    assert export_optuna(source, "demo", journal) == 42
    with pytest.raises(UserError, match="exists already"):
        export_optuna(source, "demo", journal)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    study = optuna.load_study(study_name="demo", storage=storage)
    ours = source.trials(source.get_study("demo").id)
    assert study.metric_names == ["AP", "latency_ms"]
    finished = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.COMPLETE]
    assert [tuple(trial.values) for trial in finished] == [
        (t.deployed.ap, t.deployed_latency.median_ms) for t in ours if t.state is TrialState.FINISHED
    ]
    front = {trial.user_attrs["number"] for trial in study.best_trials}
    assert front == {point.number for point in source.overview(source.get_study("demo").id).front}
    assert {"model.width", "precision.kind"} <= set(study.trials[5].params)


def test_by_command_line(sqlite_url, tmp_path):
    with Repository.open(sqlite_url) as repository:
        seed_demo(repository, trials=6)
    out = tmp_path / "demo.study.gz"
    done = storage("export", "--storage", sqlite_url, "--study", "demo", "--out", str(out), "--json")
    assert json.loads(done.stdout)["rows"]["trials"] == 6
    again = storage("import", str(out), "--storage", sqlite_url)
    assert again.returncode == 2 and "is already in" in again.stderr and again.stderr.count("\n") == 1
    moved = storage("import", str(out), "--storage", f"sqlite:///{tmp_path}/b.db", "--json")
    assert json.loads(moved.stdout)["trials"] == 6
    missing = storage("release", "--storage", f"sqlite:///{tmp_path}/none.db", "--study", "x")
    assert missing.returncode == 2 and "there is no database" in missing.stderr
    assert not (tmp_path / "none.db").exists()
