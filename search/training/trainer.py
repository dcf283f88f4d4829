"""A training run from the first step to the weights on disk."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from evaluators.data import DetectionData
from foundation.errors import UserError
from search.atomic import remove_leftovers
from search.effort import has_scale_search, scale_search_epochs
from search.training import scales
from search.training.checkpoint import find_checkpoint
from search.training.data.cache import ImageCache, affordable_mib
from search.training.data.loader import Loader
from search.training.data.sampler import Sampler
from search.training.distill import Teacher, TeacherNetwork
from search.training.numerics import training_device
from search.training.options import TrainedNetwork, TrainingDiverged, TrainingOptions, TrainingProgress
from search.training.ranks import ALONE, Ranks
from search.training.run import DeviceGuard, Judge, ProgressCallback, Run
from search.training.schedule import Plan
from search.training.step import Stepper
from search.training.weights import initialise_from, load_detector
from yolov6space.candidate import Candidate, digest
from yolov6space.networks import Detector, build
from yolov6space.networks.repopt import apply_scales, build_scale_search

CHECKPOINT_FORMAT = 2
RETRY_RATE = 0.3  # of the learning rate, after a run has diverged


def train(
    candidate: Candidate,
    data: DetectionData,
    options: TrainingOptions,
    *,
    folder: Path,
    on_progress: ProgressCallback | None = None,
    device_guard: DeviceGuard = nullcontext,
    init_weights: Path | None = None,
    teacher: Teacher | None = None,
    judge: Judge | None = None,
    ranks: Ranks = ALONE,
) -> TrainedNetwork:
    """Train a candidate on the `train` split and write its averaged weights to `folder`.

    A run that diverges goes back to its last checkpoint, or to the start, and goes on at `RETRY_RATE` of the
    learning rate; once. A `repopt` network is preceded by the search for its scales, in `folder/scales`.

    The same candidate, data, options and numbers of threads and ranks give the same weights on a CPU, also when a
    run was killed and called again: it goes on from the checkpoint in `folder`.

    Args:
        folder: made if absent; belongs to this run alone.
        device_guard: entered around every step and every other pass, so that others can have the device to themselves.
        init_weights: safetensors to start from; class predictors of another number of classes are left out.
        teacher: distil from this network; what the candidate's recipe says of distillation is the caller's to see to.
        judge: AP of a detector (it stays as it is), for a look on the way every `options.judge_epochs`.
        ranks: processes that train this network together, each of which calls this function with the same arguments;
            what they wrote, a run of any other number of processes can go on from.

    Raises:
        OutOfTime: the end would be past `options.deadline`.
        TrainingDiverged: the loss ran away or became non-finite, and again at the lower rate.
        UserError: no training images, unreadable images, weights of another network, or a full disk.
    """
    split = data.split("train")
    if not len(split):
        raise UserError(f"data {data.name!r} has no training images; add some to its train split")
    if not ranks.leads:  # the others follow rank 0, step by step
        on_progress, judge, device_guard = None, None, nullcontext
        options = dataclasses.replace(options, deadline=None)
    classes = len(data.class_names)
    limit_mib = affordable_mib(ranks.count) if options.cache_mib is None else options.cache_mib
    cache = ImageCache(split, options.image_size, limit_mib)
    name = _name(candidate, data, options, init_weights, teacher)
    with process_settings(options):
        taught = None if teacher is None else TeacherNetwork(_teacher(teacher, classes))
        found = None
        if has_scale_search(candidate.model):
            found = _find_scales(
                candidate, classes, options, cache, folder, name, on_progress, device_guard, ranks
            )

        def begin(retry: str) -> Run:
            torch.manual_seed(options.seed)
            detector = build(candidate.model, classes)
            multipliers = None if found is None else apply_scales(detector, found.scales)
            if init_weights is not None:
                initialise_from(detector, init_weights)
            plan = _plan(candidate, options, cache, retry, resumed_weights=init_weights is not None)
            stepper = Stepper.of(
                detector,
                candidate.recipe,
                plan,
                image_size=options.image_size,
                amp=options.amp,
                device=training_device(),
                teacher=taught,
                multipliers=multipliers,
                compile_network=options.compile_network,
                ranks=ranks,
            )
            return Run(stepper, _loader(cache, options, plan), options, folder, name, retry, judge)

        trained = _with_retry(begin, folder, name, on_progress, device_guard)
        return dataclasses.replace(
            trained,
            seconds=trained.seconds + (0.0 if found is None else found.seconds),
            images_seen=trained.images_seen + (0 if found is None else found.images_seen),
            init=None if init_weights is None else _content(init_weights),
            teacher=None if teacher is None else _content(teacher.weights),
        )


def _with_retry(
    begin: Callable[[str], Run],
    folder: Path,
    name: str,
    on_progress: ProgressCallback | None,
    device_guard: DeviceGuard,
) -> TrainedNetwork:
    """Run to the end from the last checkpoint or the start; `begin` is told why an attempt before it failed."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)

    def attempt(retry: str) -> TrainedNetwork | str:
        """The network, or why this first attempt failed; by then nothing holds what it trained any more."""
        checkpoint = find_checkpoint(folder, name)
        retry = retry or (checkpoint.state["retry"] if checkpoint else "")
        run = begin(retry)
        if checkpoint is not None:
            run.resume(checkpoint)
        try:
            return run.to_the_end(on_progress, device_guard)
        except TrainingDiverged as error:
            if retry:
                raise TrainingDiverged(
                    f"{retry}; and at {RETRY_RATE:g} of the learning rate: {error}"
                ) from error
            return str(error)

    first = attempt("")
    if not isinstance(first, str):
        return first
    second = attempt(first)
    assert not isinstance(second, str)  # a second failure is raised
    return second


def _find_scales(
    candidate: Candidate,
    classes: int,
    options: TrainingOptions,
    cache: ImageCache,
    folder: Path,
    name: str,
    on_progress: ProgressCallback | None,
    device_guard: DeviceGuard,
    ranks: Ranks,
) -> scales.FoundScales:
    """Those found before by this very run, else by a training of the search form."""
    own = folder / scales.FOLDER
    before = scales.found_before(own, name, candidate.model, classes)
    if before is not None:
        return before
    shorter = dataclasses.replace(options, epochs=scale_search_epochs(options.epochs), judge_epochs=None)

    def begin(retry: str) -> Run:
        torch.manual_seed(options.seed)
        plan = _plan(candidate, shorter, cache, retry)
        stepper = Stepper.of(
            build_scale_search(candidate.model, classes),
            candidate.recipe,
            plan,
            image_size=options.image_size,
            amp=options.amp,
            device=training_device(),
            compile_network=options.compile_network,
            ranks=ranks,
        )
        return Run(stepper, _loader(cache, shorter, plan), shorter, own, name, retry)

    def tell(progress: TrainingProgress) -> None:
        if on_progress is not None:
            on_progress(dataclasses.replace(progress, phase="scales"))

    trained = _with_retry(begin, own, name, tell, device_guard)
    if ranks.leads:
        scales.note_found(trained, own, name)
    return scales.found_by(trained, candidate.model, classes)


def _plan(
    candidate: Candidate,
    options: TrainingOptions,
    cache: ImageCache,
    retry: str,
    *,
    resumed_weights: bool = False,
) -> Plan:
    plan = Plan.of(candidate.model, options, len(cache), resumed_weights=resumed_weights)
    return plan.slower(RETRY_RATE) if retry else plan


def _loader(cache: ImageCache, options: TrainingOptions, plan: Plan) -> Loader:
    return Loader(
        cache,
        Sampler(len(cache), options.seed),
        batch=options.batch,
        image_size=options.image_size,
        augmentation=plan.augmentation_at,
    )


def _teacher(teacher: Teacher, classes: int) -> Detector:
    with torch.random.fork_rng(devices=[]):
        return load_detector(teacher.model, classes, teacher.weights)


def _name(
    candidate: Candidate,
    data: DetectionData,
    options: TrainingOptions,
    init_weights: Path | None,
    teacher: Teacher | None,
) -> str:
    """Digest of everything that decides the weights; how fast or how long it may take does not."""
    told = dataclasses.asdict(options)
    # threads and compilation change the rounding only; a search may find another number best when it is resumed
    for name in (
        "deadline",
        "workers",
        "threads",
        "cache_mib",
        "checkpoint_seconds",
        "judge_epochs",
        "compile_network",
    ):
        del told[name]
    taught = None
    if teacher is not None:
        taught = [dataclasses.asdict(teacher.model), _content(teacher.weights)]
    return digest(
        {
            "checkpoint": CHECKPOINT_FORMAT,
            "candidate": candidate.training_key,
            "data": data.fingerprint,
            "options": told,
            "start": None if init_weights is None else _content(init_weights),
            "teacher": taught,
        }
    )


def _content(weights: Path) -> str:
    try:
        return hashlib.sha256(weights.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{weights}: cannot be read as weights ({error.strerror})") from None


@contextmanager
def process_settings(options: TrainingOptions) -> Iterator[None]:
    """Settings of this process that training needs, put back afterwards."""
    import cv2

    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(0)  # small pictures; its own threads would only fight those of torch
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
