"""One step of training: forward, assignment, loss, backward, update."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from search.training.assigners import WARMUP_ASSIGNER
from search.training.data.loader import Batch
from search.training.distill import TeacherNetwork, soft_weight
from search.training.losses import DetectionLoss
from search.training.numerics import autocast, compiled, compute_type, memory_format
from search.training.optimizer import make_average, make_optimizer, make_scheduler, set_momentum
from search.training.options import TrainingDiverged
from search.training.ranks import ALONE, Ranks
from search.training.schedule import Plan
from yolov6space.candidate import Recipe
from yolov6space.networks import Detector

MAX_GRADIENT_NORM = 10.0


@dataclass(slots=True)
class Stepper:
    """A network in training with all that changes from step to step."""

    detector: Detector
    network: nn.Module  # the detector as a training step calls it
    average: AveragedModel | None
    optimizer: SGD
    scheduler: LambdaLR
    scaler: torch.amp.GradScaler
    loss: DetectionLoss
    plan: Plan
    device: torch.device
    dtype: torch.dtype
    teacher: TeacherNetwork | None
    scaled: tuple[list[nn.Parameter], list[Tensor]]
    ranks: Ranks

    @classmethod
    def of(
        cls,
        detector: Detector,
        recipe: Recipe,
        plan: Plan,
        *,
        image_size: int,
        amp: str,
        device: torch.device,
        teacher: TeacherNetwork | None = None,
        multipliers: Mapping[str, Tensor] | None = None,
        compile_network: bool = False,
        averaged: bool = True,
        ranks: Ranks = ALONE,
    ) -> Self:
        """Ready for step 0. The detector is moved to `device` and trained in place.

        Args:
            averaged: whether an average of the weights (EMA) is kept beside them.
            multipliers: of gradients, by parameter name (RepOptimizer).
        """
        detector = detector.to(device).train()
        detector.to(memory_format=memory_format(device))  # type: ignore[call-overload]
        average = (
            make_average(detector, plan) if averaged else None
        )  # a copy, made before the BatchNorm layers ask other ranks
        network = ranks.network(detector)
        optimizer = make_optimizer(detector, plan)
        dtype = compute_type(amp, device)
        return cls(
            detector=detector,
            network=compiled(network) if compile_network else network,
            average=average,
            optimizer=optimizer,
            scheduler=make_scheduler(optimizer, plan),
            scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
            loss=DetectionLoss(detector, recipe, image_size, ranks),
            plan=plan,
            device=device,
            dtype=dtype,
            teacher=None if teacher is None else teacher.to(device),
            scaled=(
                [detector.get_parameter(name) for name in multipliers or ()],
                [factors.to(device) for factors in (multipliers or {}).values()],
            ),
            ranks=ranks,
        )

    def step(self, batch: Batch, step: int) -> dict[str, float]:
        """Train on one batch (this rank's share of it); returns the weighted terms of the loss of the whole.

        Raises:
            TrainingDiverged: loss or gradient is not finite; on every rank alike.
        """
        set_momentum(self.optimizer, self.plan.momentum(step))
        warms_up = self.plan.warms_up_assigner(step)
        # The warm-up's targets of 1 contradict what a teacher says of the same places: it is not asked meanwhile.
        teacher = None if warms_up else self.teacher
        images = batch.images.to(self.device, memory_format=memory_format(self.device))
        with autocast(self.dtype, self.device):
            output = self.network(images)
            taught = None if teacher is None else teacher(images)
        soft = None
        if teacher is not None and taught is not None:
            weight = soft_weight(step, self.plan.steps)
            soft = teacher.soft_targets(taught, images.shape[-1], weight)
        loss = self.loss(
            output,
            batch.truth.to(self.device),
            WARMUP_ASSIGNER if warms_up else None,
            soft,
        )
        parts = self.ranks.totals(loss.parts(), self.device)
        if not math.isfinite(sum(parts.values())):
            raise TrainingDiverged(f"the loss is not finite at step {step + 1}: {_listed(parts)}")
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(self.ranks.summed_gradient(loss.total)).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.detector.parameters(), MAX_GRADIENT_NORM)
        # With fp16 the scaler skips such steps and lowers its scale; without it nothing would.
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            raise TrainingDiverged(f"the gradient is not finite at step {step + 1}; loss {_listed(parts)}")
        kernels, factors = self.scaled
        if kernels:  # after clipping: scale-aware SGD (RepOptimizer)
            gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
            torch._foreach_mul_(gradients, factors)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.detector)
        return parts

    def result(self) -> Detector:
        """The network that is wanted in the end: the average where one is kept."""
        if self.average is None:
            return self.detector
        averaged = self.average.module
        assert isinstance(averaged, Detector)
        return averaged

    def state(self) -> dict[str, object]:
        """All of it, for a checkpoint."""
        return {
            "network": self.detector.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, object]) -> None:
        """Inverse of `state`; the learning rate becomes that of the plan, whatever it was."""
        self.detector.load_state_dict(state["network"])  # type: ignore[arg-type]
        if self.average is not None:
            self.average.load_state_dict(state["average"])  # type: ignore[arg-type]
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.scheduler.load_state_dict(state["scheduler"])  # type: ignore[arg-type]
        kinds = [group["kind"] == "bias" for group in self.optimizer.param_groups]
        self.scheduler.base_lrs = [self.plan.lr] * len(kinds)
        for group, bias in zip(self.optimizer.param_groups, kinds, strict=True):
            group["initial_lr"] = self.plan.lr
            group["lr"] = self.plan.lr * self.plan.lr_factor(self.scheduler.last_epoch, bias=bias)
        self.scaler.load_state_dict(state["scaler"])  # type: ignore[arg-type]
        torch.set_rng_state(state["random"])  # type: ignore[arg-type]


def _listed(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parts.items())
