"""A training run from the first step to the weights on disk."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path

import torch

from evaluators.data import DetectionData
from search.effort import has_scale_search, scale_search_epochs
from search.training import scales
from search.training.attempts import (
    RETRY_RATE,
    cached_images,
    content,
    deciding,
    make_loader,
    process_settings,
    with_retry,
)
from search.training.data.cache import ImageCache
from search.training.distill import Teacher, TeacherNetwork
from search.training.numerics import training_device
from search.training.options import TrainedNetwork, TrainingOptions, TrainingProgress
from search.training.ranks import ALONE, Ranks
from search.training.run import DeviceGuard, Judge, ProgressCallback, Run
from search.training.schedule import Plan
from search.training.step import Stepper
from search.training.weights import initialise_from, load_detector
from yolov6space.candidate import Candidate, digest
from yolov6space.networks import Detector, build
from yolov6space.networks.repopt import apply_scales, build_scale_search

CHECKPOINT_FORMAT = 2


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
    if not ranks.leads:  # the others follow rank 0, step by step
        on_progress, judge, device_guard = None, None, nullcontext
        options = dataclasses.replace(options, deadline=None)
    classes = len(data.class_names)
    cache = cached_images(data, options, ranks.count)
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
            return Run(stepper, make_loader(cache, options, plan), options, folder, name, retry, judge)

        trained = with_retry(begin, folder, name, on_progress, device_guard)
        return dataclasses.replace(
            trained,
            seconds=trained.seconds + (0.0 if found is None else found.seconds),
            images_seen=trained.images_seen + (0 if found is None else found.images_seen),
            init=None if init_weights is None else content(init_weights),
            teacher=None if teacher is None else content(teacher.weights),
        )


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
        return Run(stepper, make_loader(cache, shorter, plan), shorter, own, name, retry)

    def tell(progress: TrainingProgress) -> None:
        if on_progress is not None:
            on_progress(dataclasses.replace(progress, phase="scales"))

    trained = with_retry(begin, own, name, tell, device_guard)
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
    """Digest of everything that decides the weights."""
    taught = None
    if teacher is not None:
        taught = [dataclasses.asdict(teacher.model), content(teacher.weights)]
    return digest(
        {
            "checkpoint": CHECKPOINT_FORMAT,
            "candidate": candidate.training_key,
            "data": data.fingerprint,
            "options": deciding(options),
            "start": None if init_weights is None else content(init_weights),
            "teacher": taught,
        }
    )
