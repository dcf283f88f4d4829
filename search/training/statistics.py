"""BatchNorm statistics for the averaged weights, measured rather than averaged."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn

from search.training.data.loader import Loader
from search.training.numerics import autocast, memory_format
from search.training.schedule import Plan
from yolov6space.networks import Detector

BATCHES = 16


@torch.no_grad()
def renew_statistics(
    averaged: Detector,
    loader: Loader,
    plan: Plan,
    device: torch.device,
    dtype: torch.dtype,
    guard: Callable[[], AbstractContextManager[object]],
) -> None:
    """Replace the BatchNorm statistics of `averaged` by those its own weights have on the last pictures.

    Averages of statistics lag behind weights that move fast, which short runs feel most (arXiv 2105.07576,
    "precise BN"). Costs `BATCHES` forward passes, each inside a `guard`; none where there is no BatchNorm.
    """
    norms = [module for module in averaged.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        averaged.eval()
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain average over the passes
    averaged.train()
    for step in range(max(0, plan.steps - BATCHES), plan.steps):
        images = loader.batch(step).images.to(device, memory_format=memory_format(device))
        with guard(), autocast(dtype, device):
            averaged(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    averaged.eval()
