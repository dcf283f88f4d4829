"""One run of a search, from what a person asked for to stored results; the command line is in `run.py`."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.hardware import usual_precisions
from foundation.cli import progress
from foundation.errors import UserError, WorkFailedError
from search.abilities import require_able
from search.budget import TimePlan, TrainingCost, exploration_epochs, seconds_besides_training
from search.compile_gate import gate_of
from search.conductor import Conductor
from search.estimates import estimator_for, judging_hardware, known_latencies
from search.keeper import Keeper, kept_leases
from search.options import DEFAULT_TIME_BUDGET_S, DEFAULT_TRAIN_BATCH, PUBLISHED, SearchOptions
from search.places import local_cpus, nodes, places
from search.published_rung import published_results
from search.remote_judge import RemoteJudge
from search.roles import JudgementError, Policy
from search.shared_rung import SharedTraining
from search.stages import Bench
from search.stopping import stop_on_signal
from search.study_settings import absolute, known_study, settings_of, settings_to_store
from search.view import SearchView
from search.warm_start import older_results
from search.workers import ray_session, run_jobs
from storage import Repository, StudyRecord, TrialRecord, url_default
from storage.follow import StudyFollower
from storage.urls import STORAGE_VARIABLE, has_password
from yolov6space.candidate import Candidate, Precision
from yolov6space.cost import cost
from yolov6space.variants import official

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware
    from search.samplers.report import Beliefs

RUNS = Path("runs")
NEEDED_DISK_BYTES = 500 * 2**20


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a run leaves behind."""

    study: StudyRecord
    trials: list[TrialRecord]
    storage_url: str
    folder: Path
    interrupted: bool
    asked: SearchOptions
    beliefs: Beliefs | None = None


def run_search(options: SearchOptions, *, quiet: bool = False) -> SearchResult:
    """Search until the time or the trials are used up, or until it is interrupted; everything is in SQL.

    Raises:
        UserError: anything wrong with the input, the data, the database or the machine.
    """
    from evaluators.data import load_data
    from evaluators.estimate.design import space_of
    from evaluators.latency import resolve_hardware

    if options.ray_address and options.storage and has_password(options.storage):
        raise UserError(
            "Ray shows a driver's command line to its whole cluster, and --storage holds a password: put the "
            f"address into the environment variable {STORAGE_VARIABLE} instead"
        )
    hardware = resolve_hardware(options.hardware)
    progress(f"hardware: {hardware.name} ({hardware.reason})")
    data = load_data(options.data)
    progress(f"data: {data.name}: {data.description}")
    for warning in data.warnings:
        progress(f"data: {warning}")
    data.split("val")
    space = space_of(options.space, hardware)
    require_able(space, hardware)
    image_size = options.image_size or hardware.default_image_size
    estimator = estimator_for(
        hardware, image_size=image_size, batch=options.batch, classes=len(data.class_names)
    )
    if hardware.estimated:
        progress(
            "AP is judged through OpenVINO on this machine's CPU (fp16 networks in fp32); no latency is measured"
        )
    elif estimator is not None:
        progress("this device is calibrated: what is estimated far over the limit is not measured")
    name = options.study_name(data.name, hardware.name, image_size)
    folder = RUNS / name
    _require_disk(folder)
    with contextlib.ExitStack() as stack:
        repository = stack.enter_context(
            Repository.open(options.storage or url_default(), must_exist=options.resume)
        )
        wanted = settings_of(options, data, hardware, space, image_size)
        known = known_study(repository, name, wanted, options)
        if options.warm_start == PUBLISHED:
            older = published_results(space)
        else:
            older = older_results(repository, options.warm_start, name, wanted)
        if known is not None:
            keeper = _hold(stack, repository, known.id)
            # whoever holds the study owns all its trials: another owner, on whatever machine, is too late
            known = repository.complete_settings(known.id, settings_to_store(wanted, options))
            recovered = repository.recover(known.id, is_alive=lambda owner: False)
            progress(
                f"continuing study {name}: {sum(repository.count_by_state(known.id).values())} trials known"
                + (f", {len(recovered)} taken back from an interrupted run" if recovered else "")
            )
        stop = stack.enter_context(stop_on_signal())
        stack.enter_context(_address_hidden())
        device = judging_hardware(hardware).device
        stack.enter_context(ray_session(options.ray_address, local_cpus(options.workers), device))
        share = places(
            nodes(),
            workers=options.workers,
            processes=options.processes_per_trial,
            more_may_join=options.ray_address is not None,
        )
        bench = Bench(
            data=absolute(options.data),
            hardware=hardware.name,
            image_size=image_size,
            batch=options.batch,
            train_batch=DEFAULT_TRAIN_BATCH,
            seed=options.seed,
            threads=share.threads,
            folder=str(folder.resolve()),
            target_ms=options.target_ms,
            device=device,
            workers=share.workers,
            processes=share.processes,
        )
        judge = RemoteJudge(bench)
        try:
            training, threads = judge.training_cost()
        except JudgementError as error:
            raise WorkFailedError(f"cannot time a training step: {error}") from error
        bench = replace(bench, threads=threads)
        training = training.shared(bench.processes)
        if known is None:
            wanted["epochs"] = options.epochs or _epochs(options, data, bench, training)
            stored = settings_to_store(wanted, options)
            known = repository.create_study(name, stored, target_latency_ms=options.target_ms)
            keeper = _hold(stack, repository, known.id)
        progress(
            f"study {name}: an exploring training has {known.settings['epochs']} epochs of "
            f"{len(data.split('train'))} images, {image_size} px, batch {DEFAULT_TRAIN_BATCH}, limit "
            f"{options.target_ms:g} ms"
        )
        besides = seconds_besides_training(bench.processes)
        plan = TimePlan(
            budget_s=options.time_budget_s, cost=training, deploy_seconds=besides, processes=bench.processes
        )
        study = known
        follower = StudyFollower(repository, study.id)
        view = SearchView(
            f"{name}  ({hardware.name})",
            options.target_ms,
            follower.trials,
            plan.left,
            quiet=quiet,
        )

        def stopped() -> bool:
            return stop.is_set() or keeper.lost

        conductor = Conductor(
            repository=repository,
            study=study,
            space=space,
            policy=_policy(options, data, image_size, study, hardware),
            plan=plan,
            judge=judge,
            view=view,
            stopped=stopped,
            estimator=estimator,
            gate=gate_of(hardware, judge),
            follower=follower,
            older=older,
        )
        conductor.add_fixed_trials()
        with view:
            try:
                if options.shared_training_s is not None:
                    training_of_all = SharedTraining(repository, study, space, bench, plan, view, stopped)
                    shared = training_of_all.rung(
                        options.shared_training_s, conductor.policy, judge, estimator
                    )
                    if shared is not None:
                        conductor.use(shared)
                run_jobs(conductor, bench, workers=bench.workers, folder=folder, stopped=stopped)
            finally:
                conductor.release_running()
        if keeper.problem is not None:
            raise keeper.problem
        return SearchResult(
            study,
            follower.trials(),
            repository.url,
            folder,
            stop.is_set(),
            options,
            conductor.beliefs(),
        )


def _hold(stack: contextlib.ExitStack, repository: Repository, study_id: int) -> Keeper:
    repository.hold_study(study_id)
    stack.callback(repository.release_study, study_id)
    return stack.enter_context(kept_leases(repository, study_id))


def _require_disk(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < NEEDED_DISK_BYTES:
        raise UserError(
            f"only {free // 2**20} MiB free in {folder.resolve()}; a search needs "
            f"{NEEDED_DISK_BYTES // 2**20} MiB: free some space or run in another folder"
        )


def _epochs(options: SearchOptions, data: DetectionData, bench: Bench, training: TrainingCost) -> int:
    """Of an exploring training. `training` is the cost of one that all its processes share."""
    reference = cost(
        official()["YOLOv6-N"].model, num_classes=len(data.class_names), image_size=bench.image_size
    )
    per_image = training.seconds_per_image(reference.flops / 1e9)
    budget = DEFAULT_TIME_BUDGET_S if options.time_budget_s is None else options.time_budget_s
    budget -= options.shared_training_s or 0.0
    images = len(data.split("train"))
    epochs = exploration_epochs(budget * bench.workers, per_image * images, images / bench.train_batch)
    supposed = f", supposing {bench.processes} processes so many times as fast as one"
    progress(f"YOLOv6-N trains here at {1 / per_image:.0f} images/s{supposed if bench.processes > 1 else ''}")
    return epochs


def _policy(
    options: SearchOptions, data: DetectionData, image_size: int, study: StudyRecord, hardware: Hardware
) -> Policy:
    return Policy(
        target_ms=options.target_ms,
        image_size=image_size,
        num_classes=len(data.class_names),
        epochs=int(study.settings["epochs"]),
        train_images=len(data.split("train")),
        sampler=options.sampler,
        focus=options.focus,
        seed=options.seed,
        trials=options.trials,
        only_fixed=options.only_fixed,
        fixed=tuple(fixed_trials(usual_precisions(hardware))) if options.fixed_trials == "official" else (),
        estimated=hardware.estimated,
        batch=options.batch,
        calibration=known_latencies(hardware),
    )


def fixed_trials(kinds: Sequence[str] = ("fp32", "int8")) -> Iterator[tuple[str, Candidate]]:
    """The official variants in these precisions, the last kind first; M and L without self-distillation."""
    for kind in reversed(kinds):
        for name, candidate in official().items():
            recipe = replace(candidate.recipe, distillation="none")
            yield f"{name} {kind}", replace(candidate, recipe=recipe, precision=Precision.of(kind))


@contextlib.contextmanager
def _address_hidden() -> Iterator[None]:
    """Ray's processes inherit the environment, and never talk to the database: no business of theirs."""
    address = os.environ.pop(STORAGE_VARIABLE, None)
    try:
        yield
    finally:
        if address is not None:
            os.environ[STORAGE_VARIABLE] = address
