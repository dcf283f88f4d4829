"""Everything about a run that depends on how long it is, as functions of the step.

The paper trains 300 epochs of COCO (138,000 steps). Here a run may be a hundred steps long, where published
numbers that count steps or epochs (warm-up, EMA, the end of mosaic) would never let it settle. `Plan` shrinks
them with the length and reaches the published ones on long runs; docs/training.md has the measurements.
"""

import math
from dataclasses import dataclass, replace

from search.training.data.augment import LARGE, SMALL, Augmentation
from search.training.options import TrainingOptions
from yolov6space.candidate import ModelSpec

# Release 0.2.0, for runs of LONG_EPOCHS.
LONG_EPOCHS = 300
PUBLISHED_LR, PUBLISHED_LR_N = 0.01, 0.02
LR_N_UP_TO_CHANNELS = 256  # deepest stage of YOLOv6-N
FINAL_LR_SHARE = 0.01
MOMENTUM, WARMUP_MOMENTUM = 0.937, 0.8
WARMUP_BIAS_LR = 0.1
WEIGHT_DECAY, NOMINAL_BATCH = 5e-4, 64
WARMUP_EPOCHS, WARMUP_MIN_STEPS = 3, 1000
EMA_DECAY, EMA_RAMP = 0.9999, 2000
PLAIN_SHARE = 15 / 300
ATSS_SHARE = 4 / 300
LARGE_FROM_CHANNELS = 768  # deepest stage of YOLOv6-M, the smallest variant with the strong settings

# Runs of up to SHORT_EPOCHS; between those and LONG_EPOCHS everything changes in proportion. Measured, see
# docs/training.md.
SHORT_EPOCHS = 50
SHORT_LR = 0.08
SHORT_MOSAIC = 0.0
SHORT_SCALE = 0.2
SHORT_PLAIN_SHARE = 0.15
SHORT_ATSS_SHARE = 0.3
WARMUP_SHARE = 0.1  # of the steps, at most
EMA_WINDOW_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run of `steps` steps.

    Attributes:
        steps_per_epoch: may be fractional; batches run on over the end of an epoch.
        bias_lr: learning rate of biases in the first step.
        augmentation: of the strong part of the run.
        resumed_weights: whether the run starts from trained weights: no bias warm-up and no ATSS then.
    """

    steps: int
    steps_per_epoch: float
    batch: int
    lr: float
    augmentation: Augmentation
    resumed_weights: bool = False
    bias_lr: float = WARMUP_BIAS_LR

    @classmethod
    def of(
        cls, model: ModelSpec, options: TrainingOptions, images: int, *, resumed_weights: bool = False
    ) -> "Plan":
        """The plan for a network on a training split of that many images."""
        width = model.backbone[-1].channels
        published = LARGE if width >= LARGE_FROM_CHANNELS else SMALL
        published_lr = PUBLISHED_LR_N if width <= LR_N_UP_TO_CHANNELS else PUBLISHED_LR
        length = _length(options.epochs)
        return cls(
            steps=max(1, round(options.epochs * images / options.batch)),
            steps_per_epoch=images / options.batch,
            batch=options.batch,
            lr=options.lr or _between(SHORT_LR, published_lr, length),
            augmentation=replace(
                published,
                mosaic=_between(SHORT_MOSAIC, published.mosaic, length),
                mixup=published.mixup * length,
                scale=_between(SHORT_SCALE, published.scale, length),
            ),
            resumed_weights=resumed_weights,
        )

    def slower(self, share: float) -> "Plan":
        """The same at that share of all its learning rates."""
        return replace(self, lr=share * self.lr, bias_lr=share * self.bias_lr)

    @property
    def warmup_steps(self) -> int:
        """Three epochs or 1000 steps, whichever is more, but at most a tenth of the run."""
        published = max(WARMUP_MIN_STEPS, round(WARMUP_EPOCHS * self.steps_per_epoch))
        return min(published, round(WARMUP_SHARE * self.steps))

    @property
    def plain_from(self) -> int:
        """First step without mosaic and mixup."""
        return self.steps - round(_between(SHORT_PLAIN_SHARE, PLAIN_SHARE, self._length) * self.steps)

    @property
    def _length(self) -> float:
        return _length(self.steps / self.steps_per_epoch)

    @property
    def weight_decay(self) -> float:
        """Published for a batch of 64, in proportion to the batch."""
        return WEIGHT_DECAY * self.batch / NOMINAL_BATCH

    def lr_factor(self, step: int, *, bias: bool = False) -> float:
        """Learning rate of a step as a share of the peak: linear warm-up (biases come down), then cosine."""
        cosine = FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        if step >= self.warmup_steps:
            return cosine
        start = self.bias_lr / self.lr if bias and not self.resumed_weights else 0.0
        return start + (cosine - start) * (step + 1) / (self.warmup_steps + 1)

    def momentum(self, step: int) -> float:
        """SGD momentum of a step; rises during warm-up."""
        if step >= self.warmup_steps:
            return MOMENTUM
        return WARMUP_MOMENTUM + (MOMENTUM - WARMUP_MOMENTUM) * step / self.warmup_steps

    def ema_decay(self, step: int) -> float:
        """Share of the average that is kept after a step: an average over about the last 5 % of the run.

        The published 0.9999 is the limit, reached by runs of 200,000 steps.
        """
        decay = min(EMA_DECAY, 1 - 1 / max(1.0, EMA_WINDOW_SHARE * self.steps))
        ramp = min(EMA_RAMP, max(1.0, EMA_WINDOW_SHARE * self.steps))
        return decay * (1 - math.exp(-(step + 1) / ramp))

    def augmentation_at(self, step: int) -> Augmentation:
        """How strongly the pictures of a step are changed; mosaic and mixup end before the run does."""
        if step < self.plain_from:
            return self.augmentation
        return replace(self.augmentation, mosaic=0.0, mixup=0.0)

    def warms_up_assigner(self, step: int) -> bool:
        """Whether `WARMUP_ASSIGNER` stands in for the recipe's: at the start of a run from scratch."""
        share = _between(SHORT_ATSS_SHARE, ATSS_SHARE, self._length)
        return step < share * self.steps and not self.resumed_weights


def _length(epochs: float) -> float:
    """0 for a short run, 1 for one of published length."""
    return min(1.0, max(0.0, (epochs - SHORT_EPOCHS) / (LONG_EPOCHS - SHORT_EPOCHS)))


def _between(short: float, published: float, length: float) -> float:
    return short * (1 - length) + published * length
