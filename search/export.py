"""`python -m search.export`: hand over a network of a study, verified again from disk in new processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foundation import cli
from foundation.errors import UserError, WorkFailedError
from search.units import LATENCY_MS

if TYPE_CHECKING:
    from storage import Repository
    from storage.records import StudyRecord, TrialRecord

AP_TOLERANCE = 1e-3
WITH_NMS = "model_with_nms.onnx"  # beside model.onnx, which AP and latency belong to
EXAMPLES = """
\b
Examples:
  python -m search.export --best-under 8.8ms --out best
  python -m search.export --study NAME --trial 7 --out trial7
  python -m search.export --study NAME --select N,S --out official
  python -m search.export --best-under 8.8ms --nms --out deploy
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the exported files show when they are loaded in new processes.

    Attributes:
        ap_stored, median_ms_stored: what the database says.
        ap_stored_interval: of the stored AP, where that is of a part of the images.
        within_target: whether the stated interval of the new median reaches down to the limit.
        latency_estimated: nobody measured: the device is not here, and the latencies are estimates.
    """

    ap_stored: float | None
    ap: float | None
    ap_stored_interval: tuple[float, float] | None = None
    median_ms_stored: float
    median_ms: float
    low_ms: float
    high_ms: float
    target_ms: float | None
    within_target: bool
    latency_estimated: bool = False

    @property
    def same_ap(self) -> bool:
        """Whether AP came out the same (to AP_TOLERANCE), or within the interval of a part of the images."""
        if self.ap is None or self.ap_stored is None:
            return self.ap is self.ap_stored
        if self.ap_stored_interval is not None:
            low, high = self.ap_stored_interval
            return low <= self.ap <= high
        return abs(self.ap - self.ap_stored) <= AP_TOLERANCE


@click.command(epilog=EXAMPLES)
@click.option("--study", metavar="NAME", help="[default: the newest study]")
@click.option(
    "--best-under", "best_under_ms", type=LATENCY_MS, help="Best AP with a median within this latency."
)
@click.option("--trial", "number", type=click.IntRange(min=0), help="Trial number, as the tables show it.")
@click.option("--select", metavar="N,S,L", help="Official variants by name.")
@click.option("--out", required=True, type=cli.PathOption(file_okay=False), help="Folder to write.")
@click.option("--data", metavar="SOURCE", help="Where the data is now, if it moved since the search.")
@cli.storage_option
@click.option("--no-verify", is_flag=True, help="Do not measure AP and latency again.")
@click.option("--nms", is_flag=True, help="Also write the network with suppression behind it (never timed).")
@cli.json_option
def main(
    study: str | None,
    best_under_ms: float | None,
    number: int | None,
    select: str | None,
    out: Path,
    data: str | None,
    storage: str | None,
    no_verify: bool,
    nms: bool,
    as_json: bool,
) -> None:
    """Write spec, weights, ONNX and a model card of chosen networks, and verify them in new processes."""
    if sum(given is not None for given in (best_under_ms, number, select)) != 1:
        raise UserError("give one of --best-under LATENCY, --trial NUMBER or --select NAMES")
    from storage import Repository, url_default

    with Repository.open(storage or url_default(), read_only=True) as repository:
        chosen_study = find_study(repository, study)
        trials = choose(repository.trials(chosen_study.id), chosen_study.name, best_under_ms, number, select)
        many = select is not None
        results = []
        for trial in trials:
            folder = out / trial.title.replace(" ", "-") if many else out
            limit_ms = best_under_ms or chosen_study.target_latency_ms
            results.append(
                _export(
                    repository,
                    chosen_study,
                    trial,
                    folder,
                    data=data,
                    limit_ms=limit_ms,
                    verify=not no_verify,
                )
            )
            if nms:
                _write_with_nms(folder)
    if as_json:
        cli.print_json(results)
    failed = [one for one in results if one["verification"] and not one["verification"]["passed"]]
    if failed:
        raise WorkFailedError(
            f"verification failed: {failed[0]['verification']['summary']}; the files are kept"
        )


def find_study(repository: Repository, name: str | None) -> StudyRecord:
    """The named study, or the newest one. Raises UserError when there is none."""
    if name is not None:
        return repository.get_study(name)
    studies = repository.list_studies()
    if not studies:
        raise UserError(
            f"no study in {repository.url} yet: run python -m search.run --target-latency 8.8ms first"
        )
    return studies[0]


def choose(
    trials: list[TrialRecord],
    study: str,
    best_under_ms: float | None,
    number: int | None,
    select: str | None,
) -> list[TrialRecord]:
    """The trials to export. Raises UserError that says what there is instead."""
    if best_under_ms is not None:
        return [best_under(trials, study, best_under_ms)]
    if number is not None:
        found = next((trial for trial in trials if trial.number == number), None)
        if found is None:
            known = f"it has 0 to {len(trials) - 1}" if trials else "it has none"
            raise UserError(f"study {study} has no trial {number}; {known}")
        return [_require_deployed(found)]
    named = [_named(trials, name.strip()) for name in (select or "").split(",")]
    return list({trial.id: trial for trial in named}.values())


def best_under(trials: list[TrialRecord], study: str, limit_ms: float) -> TrialRecord:
    """The highest deployed AP whose latency is within `limit_ms`. Raises UserError if there is none."""
    from storage.front import pareto_front

    front = pareto_front(trials, feasible_only=False)  # by rising latency, so by rising AP too
    within = [one for one in front if one.final_latency and one.final_latency.ms <= limit_ms]
    if within:
        return within[-1]
    fastest = front[0].final_latency if front else None
    hint = "nothing is trained yet" if fastest is None else f"the fastest takes {fastest.ms:.2f} ms"
    raise UserError(f"study {study} has no trained network within {limit_ms:g} ms: {hint}")


def _named(trials: list[TrialRecord], name: str) -> TrialRecord:
    from storage.front import best_feasible
    from yolov6space.variants import get, official

    variant = get(name)
    full = next((key for key, candidate in official().items() if candidate.model == variant.model), None)
    if full is None:
        raise UserError(f"{name} is not an official variant: choose among {', '.join(official())}")
    same = [trial for trial in trials if (trial.name or "").split(" ")[0] == full]
    if not same:
        raise UserError(f"{full} is not a trial of this study; run it with --fixed-trials official")
    trained = [trial for trial in same if trial.deployed is not None]
    if not trained:
        return _require_deployed(same[0])
    return best_feasible(trained) or trained[0]


def _require_deployed(trial: TrialRecord) -> TrialRecord:
    if trial.deployed is None or trial.final_latency is None:
        raise UserError(
            f"trial {trial.number} ({trial.title}) has no trained network: {trial.reason or trial.state}"
        )
    return trial


def _export(
    repository: Repository,
    study: StudyRecord,
    trial: TrialRecord,
    out: Path,
    *,
    data: str | None,
    limit_ms: float | None,
    verify: bool,
) -> dict[str, Any]:
    from evaluators.artefact import load_artefact
    from search.model_card import Evidence, model_card

    data = data or str(study.settings["data"]["source"])

    assert trial.deployed is not None
    paths = {one.hash: Path(one.path) for one in repository.artefacts(trial.id)}
    source = paths[str(trial.deployed.artefact_hash)]
    if not source.is_dir():
        raise UserError(
            f"the files of trial {trial.number} are gone ({source}); train it again in a new --study"
        )
    if load_artefact(source).hash != trial.deployed.artefact_hash:
        raise UserError(
            f"{source} holds another network than trial {trial.number}'s; train it in a new --study"
        )
    copy_whole(source, out)
    latency = trial.deployed_latency
    evidence = None
    if latency is not None:
        evidence = Evidence(
            environment=repository.environment(latency.environment_id),
            samples=len(repository.samples_ms(latency.id)),
        )
    card = partial(model_card, study, trial, evidence, folder=str(out), data=data)
    (out / "README.md").write_text(card(verification=None))
    cli.progress(f"wrote trial {trial.number} ({trial.title}) to {out}")
    told = None
    if verify:
        verification = verify_export(out, study, trial, data, limit_ms)
        (out / "README.md").write_text(card(verification=verification))
        told = {
            **{name: getattr(verification, name) for name in verification.__slots__},
            "passed": verification.same_ap and verification.within_target,
            "summary": describe(verification),
        }
        (out / "verification.json").write_text(json.dumps(told, indent=2))
        cli.progress(f"verified in new processes: {describe(verification)}")
    return {"trial": trial.number, "candidate": trial.candidate_key, "folder": str(out), "verification": told}


def _write_with_nms(folder: Path) -> None:
    from evaluators.artefact import load_artefact
    from evaluators.graphs.nms import append_nms

    append_nms(load_artefact(folder).onnx, folder / WITH_NMS)
    cli.progress(f"wrote {folder / WITH_NMS}: one output, rows of image, x1, y1, x2, y2, score, label")


def copy_whole(source: Path, out: Path) -> None:
    """Copy a folder so that a kill or a full disk leaves no half of it. Refuses to overwrite."""
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: choose another --out, or remove it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as temporary:
            copied = Path(temporary) / "artefact"
            shutil.copytree(source, copied)
            if out.exists():
                out.rmdir()
            copied.replace(out)
    except OSError as error:
        why = "no space left on the device" if cli.is_disk_full(error) else error.strerror or str(error)
        raise UserError(f"cannot write {out}: {why}; choose another --out") from None


def verify_export(
    out: Path, study: StudyRecord, trial: TrialRecord, data: str, limit_ms: float | None
) -> Verification:
    """Load the exported files in new processes and measure AP and latency again, against `limit_ms`."""
    from evaluators.accuracy.protocol import stored_protocol
    from search.estimates import estimated_again
    from storage.front import of_a_part

    stored = trial.final_latency
    assert trial.deployed is not None and stored is not None
    hardware = "cpu" if stored.estimated else str(study.settings["hardware"])
    artefact = ["--artefact", str(out), "--hardware", hardware, "--json"]
    latency = (
        estimated_again(study.settings, trial.spec) if stored.estimated else _run_json("latency", *artefact)
    )
    protocol = trial.deployed.protocol
    rules = json.dumps(stored_protocol(protocol).to_dict())
    accuracy = _run_json("accuracy", *artefact, "--data", data, "--split", "val", "--protocol", rules)
    return Verification(
        ap_stored=trial.deployed.ap,
        ap_stored_interval=(protocol["ap_low"], protocol["ap_high"]) if of_a_part(protocol) else None,
        ap=accuracy["figures"]["AP"],
        median_ms_stored=stored.ms,
        median_ms=latency["median_ms"],
        low_ms=latency["low_ms"],
        high_ms=latency["high_ms"],
        target_ms=limit_ms,
        within_target=limit_ms is None or latency["low_ms"] <= limit_ms,
        latency_estimated=stored.estimated,
    )


def _run_json(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "evaluators", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise WorkFailedError(f"python -m evaluators {arguments[0]} failed: {last}")
    return json.loads(done.stdout)


def describe(one: Verification) -> str:
    """One line for people."""
    ap = "undefined" if one.ap is None else f"{one.ap:.4f}"
    stored = "undefined" if one.ap_stored is None else f"{one.ap_stored:.4f}"
    limit = "" if one.target_ms is None else f", limit {one.target_ms:g} ms"
    how, percent = (" estimated, not measured", 90) if one.latency_estimated else ("", 95)
    differs = not one.latency_estimated and not one.low_ms <= one.median_ms_stored <= one.high_ms
    doubt = "; the stored latency is outside: measure both again when the machine is quiet" if differs else ""
    return (
        f"AP {ap} (stored {stored}), {one.median_ms:.2f} ms{how}, {percent} % interval {one.low_ms:.2f} to "
        f"{one.high_ms:.2f} (stored {one.median_ms_stored:.2f}{limit}){doubt}"
    )


if __name__ == "__main__":
    cli.run(main, "python -m search.export")
