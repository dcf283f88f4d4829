"""The stages of a candidate's life on a worker: latency before training, then train, deploy and measure.

Plain functions over plain values; nothing here knows Ray, SQL or Optuna. What comes back is JSON, because it
crosses process borders and ends in a database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.scratch import Scratch
from search.budget import TrainingCost
from search.deploying import deploy, describe_artefact
from search.estimates import deployable, judging_hardware
from search.job_qat import fine_tuned
from search.job_weights import weights_digest, weights_of
from yolov6space.candidate import Candidate

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware, Measurement
    from search.training import TrainingProgress

NEAR_LIMIT = 1.2  # within this factor of the limit one measurement does not settle it
NEAR_LIMIT_DISTURBED = 2.0  # the same for one that was disturbed


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and on what candidates are judged; the same for every candidate of a study.

    Attributes:
        data: source that `load_data` understands.
        hardware: name that `resolve_hardware` understands.
        image_size: pixels, square; of training, AP and latency alike.
        threads: CPU threads of training (a latency measurement chooses its own and records them).
        folder: where weights and artefacts of the study go.
        target_ms: the limit; near it, or disturbed, a measurement is repeated.
        device: that is measured on, as the driver found it; names the process that measures there.
        workers: that train at once and share the memory of a machine.
        processes: that share each training; `threads` is of one of them.
    """

    data: str
    hardware: str
    image_size: int
    batch: int
    train_batch: int
    seed: int
    threads: int
    folder: str
    target_ms: float
    device: str
    workers: int = 1
    processes: int = 1

    def size_of(self, candidate: Candidate) -> int:
        """Input size of a candidate: its own where the size is searched, else the study's."""
        return candidate.image_size or self.image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Train one candidate for `epochs`, starting from `init_weights` (a safetensors file) or from scratch.

    A recipe with self-distillation needs a teacher, the same network trained before: the first training of such a
    candidate is plain, and one that starts from `init_weights` takes them for its teacher too.

    Attributes:
        epochs_before: epochs already behind `init_weights`, so that the protocol tells the whole sum.
        deadline: `time.time()` by which it must have ended, None for no limit.
        ap_to_beat: judging ends early once AP is clearly below it; None judges every image.
    """

    trial_id: int
    candidate: dict[str, Any]
    epochs: int
    epochs_before: int = 0
    init_weights: str | None = None
    deadline: float | None = None
    ap_to_beat: float | None = None

    @property
    def distils(self) -> bool:
        """Whether this training has a teacher."""
        return self.init_weights is not None and self.candidate["recipe"]["distillation"] == "self"

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for a worker's configuration."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainJob:
        """Inverse of `to_dict`."""
        return cls(**data)


@lru_cache(maxsize=2)
def _data(source: str) -> DetectionData:
    from evaluators.data import load_data

    return load_data(source)


def class_count(bench: Bench) -> int:
    """Classes of the study's data."""
    return len(_data(bench.data).class_names)


def judge_latency(candidate: Candidate, bench: Bench) -> dict[str, Any]:
    """Latency of the candidate's untrained artefact, measured on the real engine (`Measurement.to_dict`)."""
    from evaluators.artefact import untrained_artefact
    from evaluators.hardware import float_format
    from evaluators.latency import resolve_hardware

    hardware = resolve_hardware(bench.hardware)
    with Scratch("untrained") as folder:
        artefact = untrained_artefact(
            candidate,
            num_classes=len(_data(bench.data).class_names),
            image_size=bench.size_of(candidate),
            batch=bench.batch,
            folder=folder / candidate.key,
            float_format=float_format(hardware),
        )
        return measure_near(artefact, hardware, bench.target_ms).to_dict()


def measure_here(artefact: Artefact, bench: Bench) -> dict[str, Any]:
    """`measure_near` in this process, as JSON values."""
    from evaluators.latency import resolve_hardware

    return measure_near(artefact, resolve_hardware(bench.hardware), bench.target_ms).to_dict()


def measure_near(artefact: Artefact, hardware: Hardware, limit_ms: float) -> Measurement:
    """Measure; where it matters, through three engines opened one after the other.

    From one engine to the next a median differs by some percent, far more than its own interval says. That
    matters near the limit, where it decides, and further around it where the machine was disturbed.
    """
    from evaluators.latency import joined, measure

    first = measure(artefact, hardware)
    near = NEAR_LIMIT_DISTURBED if first.disturbed else NEAR_LIMIT
    either = first.disturbed and first.low_ms <= limit_ms <= first.high_ms
    if not either and not limit_ms / near <= first.median_ms <= limit_ms * near:
        return first
    return joined([first, measure(artefact, hardware, engines=2)])


def training_cost(bench: Bench) -> tuple[TrainingCost, int]:
    """Seconds per image as a function of GFLOPs, timed on YOLOv6-N and on one of half its width, and the threads.

    Beside another busy process, two threads that wait for each other can be thirty times slower than one, so
    both are tried and the faster is taken.
    """
    from yolov6space.variants import get, scaled_model

    large = get("YOLOv6-N")
    small = Candidate(model=scaled_model(width=0.125, depth=0.33), recipe=large.recipe)
    threads = min({1, bench.threads}, key=lambda count: _seconds_per_image(large, bench, count))
    points = [(_gflops(one, bench), _seconds_per_image(one, bench, threads)) for one in (small, large)]
    return TrainingCost.through(*points), threads


def _gflops(candidate: Candidate, bench: Bench) -> float:
    from yolov6space.cost import cost

    classes = len(_data(bench.data).class_names)
    return cost(candidate.model, num_classes=classes, image_size=bench.image_size).flops / 1e9


def _seconds_per_image(candidate: Candidate, bench: Bench, threads: int) -> float:
    from search.training import TrainingOptions, estimate_seconds_per_image

    options = TrainingOptions(
        epochs=1, image_size=bench.image_size, batch=bench.train_batch, seed=bench.seed, threads=threads
    )
    return estimate_seconds_per_image(candidate, len(_data(bench.data).class_names), options)


def train_and_deploy(
    job: TrainJob,
    bench: Bench,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    measure: Callable[[Artefact, Bench], dict[str, Any]] = measure_here,
    alive: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Train, fine-tune where the candidate asks for QAT, build the artefact, judge that very artefact.

    Latency is measured on the device, AP through the engine.

    Args:
        measure: latency of the artefact as JSON values; where several workers share a device, one process measures.
        alive: called whenever something got done besides training.

    Returns:
        `trained` and `deployed` evaluations, the deployed `measurement` (None where the device is not here) and
        the `artefact`, as JSON values; after QAT `tuning` tells its seconds and pictures.

    Raises:
        OutOfTime: the job would not end before its deadline.
        TrainingDiverged: the loss became non-finite, in training or in QAT.
    """
    from evaluators.latency import resolve_hardware
    from search.training import load_detector

    candidate = Candidate.from_dict(job.candidate)
    data = _data(bench.data)
    wanted = resolve_hardware(bench.hardware)
    built = deployable(candidate, wanted)
    trained = weights_of(job, candidate, bench, data, on_progress)
    tuned = fine_tuned(job, candidate, bench, data, trained.weights, on_progress, alive)
    epochs = job.epochs + job.epochs_before
    started = time.perf_counter()
    result = deploy(
        built,
        load_detector(candidate.model, len(data.class_names), trained.weights),
        data,
        hardware=judging_hardware(wanted),
        image_size=bench.size_of(candidate),
        batch=bench.batch,
        folder=Path(bench.folder) / "artefacts" / f"{built.key}-{weights_digest(job, bench, data)}",
        training={
            "seed": bench.seed,
            **trained.protocol(),
            "epochs": epochs,
            **({"epochs_before": job.epochs_before} if job.epochs_before else {}),
            **({"distillation": "self"} if job.distils else {}),
        },
        ap_to_beat=job.ap_to_beat,
        measure=None if wanted.estimated else lambda artefact: measure(artefact, bench),
        alive=alive,
        **(tuned.to_deploy if tuned else {}),
    )
    return {
        **(tuned.to_tell if tuned else {}),
        "trained": {**result.trained, "seconds": trained.seconds, "epochs": epochs},
        "deployed": {**result.deployed, "seconds": time.perf_counter() - started, "epochs": epochs},
        "measurement": result.measurement,
        "artefact": describe_artefact(result.artefact),
        "weights": str(trained.weights),
        "training_seconds": trained.seconds,
        "images_seen": trained.images_seen,
    }
