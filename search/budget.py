"""How the time of a search is spent: explore with short trainings first, then train the best ones longer."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

EXPLORING_SHARE = 0.5  # of a time budget; the rest goes to longer training of the best candidates
TRIALS_TO_EXPLORE = 8  # trainings of a YOLOv6-N-sized network that should fit into the exploring share
FEWEST_TO_EXPLORE = 3  # the same where more would be too short to tell good from poor
TELLING_STEPS = (
    300  # of such a training: with 120, AP on the bundled digits was .005 for YOLOv6-N and chance for all
)
LONGER_TRAINING = 4.0  # a finalist gets at most this many times the epochs of exploration on top
MAX_EPOCHS = 300
MIN_EPOCHS = 2
DEPLOY_SECONDS = 12.0  # export, quantization, latency and AP of one candidate, before any was seen
MEASURING_SECONDS = 10.0  # latency of one candidate on a device that is here, likewise
TUNING_STEP = 1.4  # times a training step: QAT is float32 and has a teacher, but no branches; likewise
STARTING_SECONDS = 20.0  # of the processes that share a training, and of the one that deploys it; likewise


def seconds_besides_training(processes: int) -> float:
    """Of one candidate whose training so many processes share, before any was seen."""
    return DEPLOY_SECONDS + (STARTING_SECONDS if processes > 1 else 0.0)


def exploration_epochs(budget_s: float, seconds_per_epoch: float, steps_per_epoch: float) -> int:
    """Epochs per exploring trial so that about TRIALS_TO_EXPLORE networks of N's size fit.

    Fewer networks, and no less than FEWEST_TO_EXPLORE, where trainings would otherwise have less than TELLING_STEPS.

    Args:
        seconds_per_epoch: of YOLOv6-N on this machine, data and image size, measured.
    """

    def fitting(trials: int) -> int:
        per_trial = budget_s * EXPLORING_SHARE / trials - DEPLOY_SECONDS
        return math.floor(per_trial / seconds_per_epoch)

    telling = math.ceil(TELLING_STEPS / steps_per_epoch)
    epochs = max(fitting(TRIALS_TO_EXPLORE), min(telling, fitting(FEWEST_TO_EXPLORE)))
    return max(MIN_EPOCHS, min(MAX_EPOCHS, epochs))


@dataclass(frozen=True, slots=True)
class TrainingCost:
    """Seconds of training per image: a part that every network costs, and a part per GFLOP of a forward pass."""

    fixed_s: float
    per_gflop_s: float

    @classmethod
    def through(cls, small: tuple[float, float], large: tuple[float, float]) -> "TrainingCost":
        """The line through two timed networks, each (GFLOPs, seconds per image); neither part below zero."""
        (g0, s0), (g1, s1) = small, large
        slope = min(max((s1 - s0) / (g1 - g0), 0.0), s1 / g1)
        return cls(s1 - slope * g1, slope)

    def shared(self, processes: int) -> "TrainingCost":
        """Of a training that so many processes share, supposed so many times as fast as one."""
        return TrainingCost(self.fixed_s / processes, self.per_gflop_s / processes)

    def seconds_per_image(self, gflops: float) -> float:
        """Of a network of this cost."""
        return self.fixed_s + self.per_gflop_s * gflops


@dataclass
class TimePlan:
    """Keeps account of time in one run of the driver.

    Attributes:
        budget_s: seconds this run may take, None for no limit.
        cost: training cost timed on this machine before the run.
        clock: seconds, monotonic.
        slower: how much longer trainings really take (loading, a busy machine); learnt from finished jobs.
        processes: that share a training; `cost` is of all of them.
        tuning: how many times a training step in one process a step of QAT takes; learnt from finished jobs.
        measuring_seconds: of finding out one latency before a training; learnt from those that were.
    """

    budget_s: float | None
    cost: TrainingCost
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    deploy_seconds: float = DEPLOY_SECONDS
    slower: float = 1.3
    processes: int = 1
    tuning: float = TUNING_STEP
    measuring_seconds: float = MEASURING_SECONDS
    _paces: dict[float, float] = field(init=False, default_factory=dict)  # seconds per image, by GFLOPs

    def __post_init__(self) -> None:
        self.started = self.clock()

    def left(self) -> float:
        """Seconds left, infinite without a limit."""
        if self.budget_s is None:
            return math.inf
        return max(0.0, self.budget_s - (self.clock() - self.started))

    def left_for_exploring(self) -> float:
        """Seconds left of the exploring share."""
        if self.budget_s is None:
            return math.inf
        return max(0.0, self.left() - self.budget_s * (1.0 - EXPLORING_SHARE))

    def seconds_for(self, gflops: float, images: float, epochs: int) -> float:
        """Predicted seconds of training on `images` for `epochs`, and deploying, a network of this cost."""
        return images * epochs * self._per_image(gflops) + self.deploy_seconds

    def tuning_seconds(self, gflops: float, images: int, epochs: int) -> float:
        """Predicted seconds of QAT on `images` for `epochs`, which one process does alone."""
        return images * epochs * self._per_image(gflops) * self.processes * self.tuning

    def epochs_within(self, seconds: float, gflops: float, images: float) -> int:
        """Most epochs over so many images that fit into `seconds`, deployment included; may be zero."""
        fitting = (seconds - self.deploy_seconds) / (images * self._per_image(gflops))
        return max(0, math.floor(min(MAX_EPOCHS, fitting)))

    def learn(self, gflops: float, images_seen: float, training_s: float, deploy_s: float) -> None:
        """Correct the prediction by what a finished job took (exponential average)."""
        if images_seen > 0 and training_s > 0:
            self.learn_pace(gflops, training_s / images_seen)
        self.deploy_seconds = 0.5 * self.deploy_seconds + 0.5 * deploy_s

    def learn_pace(self, gflops: float, seconds_per_image: float) -> None:
        """Correct the prediction by the pace of a training.

        A network that was trained in this run already is foretold by its own, which a line in GFLOPs may miss.
        """
        self._paces[gflops] = seconds_per_image
        self.slower = 0.5 * self.slower + 0.5 * seconds_per_image / self.cost.seconds_per_image(gflops)

    def learn_measuring(self, seconds: float) -> None:
        """Correct the time that a latency takes to find out likewise."""
        self.measuring_seconds = 0.5 * self.measuring_seconds + 0.5 * seconds

    def learn_tuning(self, gflops: float, images_seen: int, seconds: float) -> None:
        """Correct the prediction of QAT likewise."""
        expected = self.tuning_seconds(gflops, images_seen, 1)
        if expected > 0 and seconds > 0:
            self.tuning *= 0.5 + 0.5 * seconds / expected

    def _per_image(self, gflops: float) -> float:
        return self._paces.get(gflops) or self.slower * self.cost.seconds_per_image(gflops)
