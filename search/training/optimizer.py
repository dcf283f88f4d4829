"""SGD in parameter groups, and the average of the weights (EMA)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel

from search.training.schedule import MOMENTUM, Plan
from yolov6space.networks import Detector
from yolov6space.networks.supernet import Supernet

_Tensors = tuple[Tensor, ...] | list[Tensor]


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """`decayed`: kernels; `norm`: other weights (BatchNorm, scales); `bias`: biases, BatchNorm's included."""
    groups: dict[str, list[nn.Parameter]] = {"decayed": [], "norm": [], "bias": []}
    for name, parameter in model.named_parameters():
        kind = "bias" if name.endswith("bias") else "decayed" if parameter.ndim > 1 else "norm"
        groups[kind].append(parameter)
    return groups


def make_optimizer(model: nn.Module, plan: Plan) -> SGD:
    """Nesterov SGD; weight decay for kernels only. `make_scheduler` and `set_momentum` set what changes."""
    groups = [
        {"params": parameters, "kind": kind, "weight_decay": plan.weight_decay if kind == "decayed" else 0.0}
        for kind, parameters in parameter_groups(model).items()
        if parameters
    ]
    # fused takes no parameters that rest in a step, as those of a shared network do
    resting = isinstance(model, Supernet)
    return SGD(groups, lr=plan.lr, momentum=MOMENTUM, nesterov=True, fused=not resting)


def make_scheduler(optimizer: SGD, plan: Plan) -> torch.optim.lr_scheduler.LambdaLR:
    """The plan's learning rates, one step of the scheduler per step of training."""

    # Plain functions: LambdaLR would write the insides of a callable object into checkpoints.
    def factor(kind: str) -> Callable[[int], float]:
        return lambda step: plan.lr_factor(min(step, plan.steps), bias=kind == "bias")

    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, [factor(group["kind"]) for group in optimizer.param_groups]
    )


def set_momentum(optimizer: SGD, momentum: float) -> None:
    """Momentum of the next step, in every group."""
    for group in optimizer.param_groups:
        group["momentum"] = momentum


def make_average(detector: Detector, plan: Plan) -> AveragedModel:
    """EMA of weights and BatchNorm statistics with the plan's decay; `update_parameters` once per step."""

    @torch.no_grad()
    def update(averaged: _Tensors, current: _Tensors, count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():  # BatchNorm's step counters
            for kept, new in zip(averaged, current, strict=True):
                kept.copy_(new)
            return
        torch._foreach_lerp_(averaged, current, 1 - plan.ema_decay(int(count)))

    return AveragedModel(detector, multi_avg_fn=update, use_buffers=True)
