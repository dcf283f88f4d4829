"""One training outside a search: from what a person asked for to an artefact and its AP.

Folder layout:
    training.json      what was asked, and the result once there is one
    run/               checkpoint while it trains, averaged weights afterwards
    teacher/           the same of the network's own teacher, with self-distillation
    network/           the artefact (`evaluators.artefact`)
    predictions.jpg    some val images with annotated boxes and with what the artefact finds
    log.jsonl          progress, one JSON object a line; tensorboard/ where that was asked for
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError
from search.deploying import deploy, describe_artefact
from search.parallel import check_processes, threads_of_each, train_in_processes
from search.single_options import TEACHERS, SingleTraining
from search.single_pace import timed
from search.single_record import claimed, is_intact, trained_before, write_record
from search.single_watch import Watch, require_tensorboard

if TYPE_CHECKING:
    from evaluators.accuracy import Engine
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware
    from search.training import Teacher, TrainedNetwork, TrainingOptions, TrainingProgress
    from yolov6space.networks import Detector

BATCH_OF_ENGINE = 1
PICTURES = 12  # of the val split, shown at the end


def run_single(asked: SingleTraining) -> dict[str, Any]:
    """Train, build the artefact, judge both; goes on from a checkpoint, and repeats nothing that is finished.

    Raises:
        UserError: anything wrong with the input, or `out` belongs to another training or to another process now.
        WorkFailedError: the training diverged.
    """
    from evaluators.data import load_data
    from evaluators.hardware import check_precision
    from evaluators.latency import resolve_hardware
    from search.training import TrainingOptions

    if asked.tensorboard:
        require_tensorboard()
    check_processes(asked.processes, asked.batch)
    hardware = resolve_hardware("auto")
    check_precision(asked.candidate.precision.kind, hardware)
    data = load_data(asked.data)
    progress(f"data: {data.name}: {data.description}")
    for warning in data.warnings:
        progress(f"data: {warning}")
    data.split("val")
    size = asked.image_size or asked.candidate.image_size or hardware.default_image_size
    options = TrainingOptions(
        epochs=asked.epochs or 1,
        image_size=size,
        batch=asked.batch,
        seed=asked.seed,
        lr=asked.lr,
        threads=asked.threads,
        compile_network=asked.compile_network and _can_compile(),
    )
    other = None if asked.teacher in TEACHERS else _other_teacher(Path(asked.teacher), data)
    with claimed(asked.out, asked.told(data, size)) as known:
        return _run(asked, data, options, hardware, other, known)


def _run(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    hardware: Hardware,
    other: Teacher | None,
    known: dict[str, Any],
) -> dict[str, Any]:
    """What is not done yet of a training whose folder is ours."""
    from search.training import load_detector

    if "result" in known and is_intact(asked.out / "network"):
        progress(f"{asked.out} holds this training already, finished; choose another --out to repeat it")
        result: dict[str, Any] = known["result"]
        return result
    if asked.epochs is None:
        options = timed(asked, data, options, known, other)
    options = dataclasses.replace(options, judge_epochs=asked.judge_epochs(options.epochs))
    with Watch(asked.out, tensorboard=asked.tensorboard) as watch:
        trained = trained_before(asked.out, known)
        if trained is None:
            trained = _train(asked, data, options, hardware, other, watch)
            known["trained"] = {**dataclasses.asdict(trained), "weights": trained.weights.name}
            write_record(asked.out, known)
        detector = load_detector(asked.candidate.model, len(data.class_names), trained.weights)
        result = _deploy(asked, data, options, trained, detector, hardware, watch)
    write_record(asked.out, {**known, "result": result})
    figures = result["deployed"]["figures"]
    progress(
        f"{asked.title}: val AP {_shown(figures['AP'])}, AP50 {_shown(figures['AP50'])} "
        f"({asked.candidate.precision.label} through {hardware.backend}); written to {asked.out / 'network'}"
    )
    return result


def _can_compile() -> bool:
    from search.training.numerics import compile_refusal

    if refusal := compile_refusal():
        progress(f"--compile: {refusal}; training goes on without")
    return not refusal


def _shown(ap: float | None) -> str:
    return "undefined" if ap is None else f"{ap:.3f}"


def _other_teacher(folder: Path, data: DetectionData) -> Teacher:
    """The network of an artefact folder. UserError when it cannot teach this data."""
    from evaluators.artefact import load_artefact
    from search.training import Teacher

    try:
        artefact = load_artefact(folder)
    except UserError as error:
        raise UserError(f"--teacher {error}") from None
    if not artefact.meta.trained:
        raise UserError(f"--teacher {folder}: its weights are random; give a network that was trained")
    if artefact.meta.class_names != data.class_names:
        raise UserError(
            f"--teacher {folder}: it knows other classes than this data; train it on the same classes"
        )
    return Teacher(artefact.candidate.model, artefact.weights)


def _train(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    hardware: Hardware,
    teacher: Teacher | None,
    watch: Watch,
) -> TrainedNetwork:
    """The network, after its own teacher where it is to have one."""
    from evaluators.device_lock import working
    from search.training import Teacher, train
    from search.training.run import WEIGHTS_FILE as TRAINED

    def guard() -> AbstractContextManager[None]:
        return working(hardware.device)

    if asked.processes > 1 and options.threads is None:
        options = dataclasses.replace(options, threads=threads_of_each(asked.processes))

    def run(folder: Path, on_progress: Callable[[TrainingProgress], None], **rest: Any) -> TrainedNetwork:
        training = partial(
            train,
            asked.candidate,
            data,
            options,
            folder=folder,
            device_guard=guard,
            init_weights=asked.init,
            **rest,
        )
        if asked.processes == 1:
            return training(on_progress=on_progress)
        progress(f"starting {asked.processes} processes that share every batch")
        return train_in_processes(
            training, processes=asked.processes, device=hardware.device, on_progress=on_progress
        )

    if asked.teacher == "self":
        weights = asked.out / "teacher" / TRAINED
        if not weights.exists():
            progress("training the network once to be its own teacher, then once more with it")
            run(weights.parent, lambda now: watch(now, "teacher"))
        teacher = Teacher(asked.candidate.model, weights)
        # else the student would repeat its teacher's training: the same first weights and pictures
        options = dataclasses.replace(options, seed=options.seed + 1)
    return run(
        asked.out / "run",
        watch,
        teacher=teacher,
        judge=lambda detector: _ap(detector, data, options.image_size, guard),
    )


def _ap(
    detector: Detector, data: DetectionData, size: int, guard: Callable[[], AbstractContextManager[None]]
) -> float | None:
    from evaluators.accuracy import TorchEngine, judge

    judged = judge(TorchEngine(detector, BATCH_OF_ENGINE), data.split("val"), image_size=size, guard=guard)
    ap: float | None = judged.figures.to_dict()["AP"]
    return ap


def _deploy(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    trained: TrainedNetwork,
    detector: Detector,
    hardware: Hardware,
    watch: Watch,
) -> dict[str, Any]:
    import numpy as np

    from evaluators.accuracy import detect
    from evaluators.data.contact_sheet import comparison_sheet, write_sheet
    from evaluators.latency.engine_process import open_engine_process

    def look(engine: Engine) -> None:
        val = data.split("val")
        places = np.unique(np.linspace(0, len(val) - 1, PICTURES).round().astype(int)).tolist()
        shown = val.subset(place for place in places if place < len(val))
        found = detect(engine, shown, image_size=options.image_size)
        sheet = comparison_sheet(shown, data.class_names, found)
        write_sheet(sheet, asked.out / "predictions.jpg")
        watch.picture("val: annotated, detected", sheet, trained.steps)

    progress("judging on the val split")
    result = deploy(
        asked.candidate,
        detector,
        data,
        hardware=hardware,
        image_size=options.image_size,
        batch=BATCH_OF_ENGINE,
        folder=asked.out / "network",
        training={
            "seed": options.seed,
            **trained.protocol(),
            **({} if asked.teacher == "none" else {"distillation": asked.teacher_kind}),
        },
        opened=open_engine_process,
        look=look,
    )
    return {
        "name": asked.title,
        "candidate": asked.candidate.key,
        "artefact": describe_artefact(result.artefact),
        "trained": result.trained,
        "deployed": result.deployed,
        "training": {
            "epochs": trained.epochs,
            "steps": trained.steps,
            "images_seen": trained.images_seen,
            "seconds": trained.seconds,
            "losses": dict(trained.losses),
            "retry": trained.retry,
        },
    }
