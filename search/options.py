"""What a person asked for, checked once; values only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foundation.errors import UserError
from foundation.names import require_study_name
from search.budget import EXPLORING_SHARE
from search.sampler import DEFAULT_SAMPLER
from search.samplers.values import Focus

DEFAULT_TIME_BUDGET_S = 720.0
DEFAULT_TRAIN_BATCH = 8  # short trainings gain more from steps than from large batches: docs/training.md
QAT_EPOCHS = 10  # release 0.2.0
QAT_LR = 1e-4  # peak; measured, see docs/training.md (release 0.2.0: 1e-5 over 9,000 steps of batch 128)
# What the float network teaches in QAT: nothing, the features of its neck, or its scores and boxes too.
QAT_DISTILLATIONS = ("none", "channel-wise", "full")
PUBLISHED = "published"  # what --warm-start takes in place of a study's name
FIXED_TRIALS = ("official", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The command line of `python -m search.run`.

    Attributes:
        image_size: pixels; None takes the hardware's default.
        time_budget_s: seconds of this run; None without a limit.
        trials: trained candidates in the study, after which exploring ends; None without a limit.
        epochs: of an exploring training; None chooses by the time budget when the study is made.
        study: name; None derives one from data, hardware, size and target.
        focus: press on the best AP within the limit (`target`) or on the whole `front`.
        resume: refuse to start a new study.
        warm_start: an older study in the same database whose results the sampler knows from the beginning, or
            `published` for the paper's figures.
        only_fixed: propose nothing beyond the fixed trials, train none longer.
        shared_training_s: seconds of training the network whose weights candidates inherit; None for none.
        workers: trainings at once; None for as many as there is room for.
        processes_per_trial: that share each training, with a GPU each where there are any.
    """

    target_ms: float
    hardware: str = "auto"
    data: str = "bundled"
    image_size: int | None = None
    batch: int = 1
    trials: int | None = None
    time_budget_s: float | None = DEFAULT_TIME_BUDGET_S
    epochs: int | None = None
    workers: int | None = None
    processes_per_trial: int = 1
    ray_address: str | None = None
    storage: str | None = None
    study: str | None = None
    resume: bool = False
    seed: int = 0
    sampler: str = DEFAULT_SAMPLER
    focus: Focus = "target"
    space: str | None = None
    fixed_trials: str = "official"
    warm_start: str | None = None
    shared_training_s: float | None = None
    only_fixed: bool = False

    def __post_init__(self) -> None:
        if self.image_size is not None and (self.image_size % 32 or not 32 <= self.image_size <= 2048):
            raise UserError(f"--image-size {self.image_size}: must be a multiple of 32 from 32 to 2048")
        if self.study is not None:
            require_study_name(self.study, "--study")
            if self.study == PUBLISHED:
                raise UserError(
                    f"--study {PUBLISHED}: --warm-start calls the paper's figures so; choose another name"
                )
        if self.processes_per_trial > DEFAULT_TRAIN_BATCH:
            raise UserError(
                f"--processes-per-trial {self.processes_per_trial}: a batch of {DEFAULT_TRAIN_BATCH} images cannot "
                "be shared by so many"
            )
        if self.warm_start is not None and self.sampler != DEFAULT_SAMPLER:
            raise UserError(f"--warm-start: only --sampler {DEFAULT_SAMPLER} can begin with what is known")
        if self.shared_training_s is not None:
            self._check_shared(self.shared_training_s)

    def _check_shared(self, seconds: float) -> None:
        if self.sampler != DEFAULT_SAMPLER:
            raise UserError(f"--shared-training: only --sampler {DEFAULT_SAMPLER} knows such a rung")
        if self.time_budget_s is not None and seconds >= EXPLORING_SHARE * self.time_budget_s:
            raise UserError(
                f"--shared-training {seconds:g}s: leaves no time to explore, which takes {EXPLORING_SHARE:.0%} of "
                f"--time-budget {self.time_budget_s:g}s; ask for less"
            )

    def study_name(self, data_name: str, hardware: str, image_size: int) -> str:
        """The given name, or one that tells what the study is about."""
        if self.study is not None:
            return self.study
        seed = f"-seed{self.seed}" if self.seed else ""
        batch = f"-b{self.batch}" if self.batch != 1 else ""
        data = re.sub(r"[^\w.-]+", "_", data_name)[:60]
        return f"{data}-{hardware}-{image_size}px{batch}-{self.target_ms}ms{seed}"
