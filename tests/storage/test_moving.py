"""Studies move between databases in one file, and leave for Optuna."""

import dataclasses
import gzip
import json
import random

import optuna
import pytest

from foundation.errors import UserError
from foundation.secrets import remember_secret
from storage import LATENCY_MS, NewEstimate, Repository, TrialState
from storage.moving import FORMAT, _parts, export_study, import_study
from storage.optuna_journal import export_optuna
from tests.storage.demo import deployed, seed_demo
from tests.storage.test_main import storage
from tests.storage.test_outage import end_other_connections

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


@pytest.mark.parametrize("secret", ["pass\u00f6rd1", 'quo"ted1', "settings", "search"])
def test_masking_leaves_a_file_that_can_be_read(tmp_path, monkeypatch, secret):
    monkeypatch.setattr("foundation.secrets._known", set())
    with Repository.in_memory() as source, Repository.in_memory() as target:
        study = source.create_study("demo", {"data": [f"bob:{secret}"], "seed": 3})
        trial = source.add_trial(study.id, "k", {})
        source.fail(trial, 'refused: password="x y" password=hunter2')
        source.add_event(study.id, "note", f"with {secret} and password=")
        remember_secret(secret)
        export_study(source, "demo", tmp_path / "demo.gz")
        text = gzip.decompress((tmp_path / "demo.gz").read_bytes()).decode()
        assert (
            "hunter2" not in text
            and "x y" not in text
            and json.loads(text.splitlines()[0])["format"] == FORMAT
        )
        assert import_study(target, tmp_path / "demo.gz") == ("demo", 1)
        moved = target.get_study("demo")
        assert moved.settings == {"data": ["bob:***"], "seed": 3}
        assert target.trials(moved.id)[0].reason == "refused: password=*** password=***"
        assert target.events(moved.id)[-2].message.startswith("with *** and password=")


def test_an_export_over_a_lost_connection_is_whole(postgres_url, tmp_path, monkeypatch):
    lost = []

    def loses(connection, study_id):
        for kind, table, rows in _parts(connection, study_id):
            if kind == "trials" and not lost:
                lost.append(True)
                end_other_connections(postgres_url)
            yield kind, table, rows

    monkeypatch.setattr("storage.moving._parts", loses)
    with Repository.open(postgres_url) as source, Repository.in_memory() as target:
        seed_demo(source, trials=6)
        export_study(source, "demo", tmp_path / "demo.gz")
        assert lost and import_study(target, tmp_path / "demo.gz") == ("demo", 6)


def changed(lines, which, **values):
    """The file with other values in the first row of that kind."""
    rows = [json.loads(line) for line in lines]
    next(row for row in rows if row["is"] == which).update(values)
    return rows


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [*changed(lines, "end")[:-1], {"is": "end"}],
        lambda lines: [row for row in changed(lines, "end") if row["is"] in ("file", "end")],
        lambda lines: changed(lines, "trials", attempts=-1),
        lambda lines: changed(lines, "trials", attempts=2**70),
        lambda lines: changed(lines, "evaluations", ap=1.5),
        lambda lines: changed(lines, "events", at="yesterday"),
    ],
    ids=["no count", "no study", "constraint", "overflow", "impossible AP", "no time"],
)
def test_a_damaged_file_is_said_and_imports_nothing(repository, file, damage):
    path = file[1]
    rows = damage(gzip.decompress(path.read_bytes()).decode().splitlines())
    if {row["is"] for row in rows} == {"file", "end"}:
        rows[-1]["rows"] = 1
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    with pytest.raises(UserError, match="damaged"):
        import_study(repository, path)
    assert repository.list_studies() == []


def test_a_flipped_bit_is_said(repository, file):
    path = file[1]
    whole = path.read_bytes()
    for place in range(len(whole) // 10, len(whole), len(whole) // 10):
        content = bytearray(whole)
        content[place] ^= 0x55
        path.write_bytes(bytes(content))
        with pytest.raises(UserError, match="damaged"):
            import_study(repository, path)
    assert repository.list_studies() == []


def test_a_name_that_no_search_takes_is_refused(file):
    with Repository.in_memory() as target, pytest.raises(UserError, match=r"--as '\.\./x': a name has"):
        import_study(target, file[1], name="../x")


def journal_of(repository, name, path):
    export_optuna(repository, name, path)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.load_study(study_name=name, storage=storage)


def test_an_estimated_study_is_whole_in_the_journal(tmp_path):
    rng = random.Random(0)
    with Repository.in_memory() as source:
        study = source.create_study("t4", {}, target_latency_ms=8.0)
        finished = source.add_trial(study.id, "a", {}, claim_by="me:1:1.00")
        estimate = NewEstimate(quantity=LATENCY_MS, value=6.0, low=5.0, high=7.0, source="model")
        evaluation = deployed(0.5, 6.0, rng, "feed")["evaluations"]
        source.finish(finished, owner="me:1:1.00", evaluations=evaluation, estimates=[estimate])
        over = source.add_trial(study.id, "b", {})
        source.infeasible(over, dataclasses.replace(estimate, value=10.0, high=12.0), "too slow")
        first, second = journal_of(source, "t4", tmp_path / "t4.log").trials
    assert first.state is optuna.trial.TrialState.COMPLETE and first.values == [0.5, 6.0]
    assert second.state is optuna.trial.TrialState.PRUNED
    for trial, ms in ((first, 6.0), (second, 10.0)):
        assert trial.user_attrs["latency_origin"] == "estimated" and trial.user_attrs["latency_ms"] == ms
        assert list(trial.constraints.values()) == [pytest.approx(ms / 8.0 - 1)]


def test_a_journal_that_failed_half_way_does_not_block_the_next(file, tmp_path, monkeypatch):
    source, _ = file
    target = tmp_path / "demo.log"
    with monkeypatch.context() as broken:
        broken.setattr("storage.optuna_journal._frozen", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            export_optuna(source, "demo", target)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("demo.log")]
    assert len(journal_of(source, "demo", target).trials) == 42


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
