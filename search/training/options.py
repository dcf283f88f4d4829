"""What a training run is told, what it says on its way, and what it ends with. Plain values, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import UserError, WorkFailedError

AMP_MODES = ("auto", "off", "bf16", "fp16")


class OutOfTime(WorkFailedError):  # noqa: N818 - an expected end, not a defect
    """The run cannot end before its deadline; raised as soon as that can be foreseen."""


class TrainingDiverged(WorkFailedError):  # noqa: N818 - likewise
    """The loss ran away or is no longer finite; the message says at which step and what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How long and at what size to train. What depends on the length is worked out by `schedule.Plan`.

    Attributes:
        epochs: passes over the training images, at least 1.
        image_size: pixels, square, a multiple of 32.
        lr: peak learning rate; None for the plan's own.
        threads: CPU threads of torch; None leaves them as they are.
        workers: background threads that prepare batches.
        deadline: `time.monotonic()` by which training must have ended; None for no limit. A run that would not is
            given up with a checkpoint.
        amp: `auto` is bf16 where the CPU computes it natively, on a GPU bf16, else fp16; `off` is float32.
        cache_mib: memory for decoded images, of each process; None for a quarter of what is available to all.
        checkpoint_seconds: time between two checkpoints.
        judge_epochs: epochs between two looks at AP on the way, None for none.
        compile_network: run the network through `torch.compile`; whether it can be, `numerics.compile_refusal` says.
    """

    epochs: int
    image_size: int
    batch: int = 16
    seed: int = 0
    lr: float | None = None
    threads: int | None = None
    workers: int = 1
    deadline: float | None = None
    amp: str = "auto"
    cache_mib: int | None = None
    checkpoint_seconds: float = 30.0
    judge_epochs: int | None = None
    compile_network: bool = False

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("batch", 1), ("workers", 1), ("judge_epochs", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UserError(f"{name} is {value}; training needs at least {low}")
        if self.image_size < 32 or self.image_size % 32:
            raise UserError(f"image size is {self.image_size}; it must be a multiple of 32 pixels")
        if self.amp not in AMP_MODES:
            raise UserError(f"amp is {self.amp!r}; choose one of {', '.join(AMP_MODES)}")
        if self.lr is not None and not 0 < self.lr < 10:
            raise UserError(f"learning rate is {self.lr}; it must be above 0 and below 10")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """Where a run stands after `step` of `steps`.

    Attributes:
        epoch: the pass under way, counted from 1.
        loss: weighted sum, mean of the steps since the last report.
        parts: its terms (`class`, `box`, `dfl`), weighted too.
        images_per_second: since the start of this process, waiting included.
        seconds_left: at that speed.
        waiting: share of the time that the network waited for pictures.
        memory_mib: of this process; on a GPU the most that tensors took there.
        ap: of the averaged weights after this step where it was judged, else None.
        retry: why the run went back and goes on at a lower rate; empty if it did not.
        phase: what is trained before the network itself, such as a teacher; empty for the network.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    images_per_second: float
    seconds_left: float
    learning_rate: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    waiting: float = 0.0
    memory_mib: float = 0.0
    ap: float | None = None
    retry: str = ""
    phase: str = ""

    def line(self) -> str:
        """One line for people."""
        parts = ", ".join(f"{name} {value:.3f}" for name, value in self.parts.items())
        return (
            f"{self.phase}{self.phase and ': '}epoch {self.epoch}/{self.epochs} step {self.step}/{self.steps}: "
            f"loss {self.loss:.3f} ({parts}), "
            f"rate {self.learning_rate:.2g}, {self.images_per_second:.1f} images/s "
            f"({self.waiting:.0%} waiting for pictures), {self.memory_mib:.0f} MiB, {self.seconds_left:.0f} s left"
            + ("" if self.ap is None else f"; val AP {self.ap:.3f}")
            + (f"; at a lower rate because {self.retry}" if self.retry else "")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """The result of a run.

    Attributes:
        weights: safetensors of the averaged weights (EMA), training form.
        images_seen: with those of the search for scales, where there was one (RepOptimizer).
        seconds: wall time of training, earlier interrupted parts and the search for scales included.
        losses: mean terms of the loss over the last tenth of the steps.
        retry: why it went back to a checkpoint and on at a lower rate; empty if it did not.
        seed: of first weights and of pictures.
        batch: pictures per step.
        lr: peak learning rate, after a retry the lower one.
        dtype: that the network computed in, such as `bfloat16`.
        init, teacher: SHA-256 of the weights it started from and of its teacher's; None from scratch, without one.
    """

    weights: Path
    epochs: int
    steps: int
    images_seen: int
    seconds: float
    losses: Mapping[str, float]
    retry: str = ""
    seed: int | None = None
    batch: int | None = None
    lr: float | None = None
    dtype: str | None = None
    init: str | None = None
    teacher: str | None = None

    def protocol(self) -> dict[str, Any]:
        """What an AP's protocol says of the training behind it; what does not apply is left out."""
        told = {
            "epochs": self.epochs,
            "seed": self.seed,
            "train_batch": self.batch,
            "train_lr": self.lr,
            "train_dtype": self.dtype,
            "init_sha256": self.init,
            "teacher_sha256": self.teacher,
        }
        return {name: value for name, value in told.items() if value is not None}
