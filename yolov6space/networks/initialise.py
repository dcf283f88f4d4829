"""Numbers for a network that was never trained, so that its speed and its quantization mean something."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yolov6space.networks.detector import Detector

_SIZE = 128  # pixels; stride 32 still has 4x4 cells
_BATCH = (
    16  # images of very different kinds; with fewer, unseen images make deep networks overflow their range
)
_PREDICTOR_SPREAD = 1.0  # standard deviation of the logits for unit inputs


@torch.no_grad()
def realistic_statistics(detector: Detector, seed: int = 0) -> Detector:
    """Give a fresh network the numerical behaviour of a trained one, in place; returns it.

    BatchNorm statistics come from a forward pass over noise images, and predictors that are still all zero
    get small random weights. Latency of a network without this is wrong (denormal numbers), and so are its
    int8 scales. Not for trained networks: their statistics would be lost. Deterministic in `seed`; the
    global random generator is left alone.

    Raises:
        ValueError: the network is already folded.
    """
    if detector.is_folded:
        raise ValueError("the network is folded and has no BatchNorm left; give the training form")
    like = next(detector.parameters())
    generator = torch.Generator().manual_seed(seed)
    _spread_predictors(detector, generator)
    norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
    was_training, momenta = detector.training, [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0  # exactly the statistics of this pass
    detector.train()
    try:
        detector(noise_images(_BATCH, _SIZE, generator).to(device=like.device, dtype=like.dtype))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        detector.train(was_training)
    return detector


def noise_images(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """B,3,size,size in 0..1: noise of all scales, each image with its own brightness, contrast and spectrum.

    The spectra run from white to coarser than a photograph's, so that what BatchNorm takes for the normal
    range holds for flat images, for photographs and for noise. `size` is at least 2.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, 1, generator=generator)

    slope, brightness, contrast = uniform(-0.5, 1.0), uniform(0.0, 1.0), uniform(0.0, 0.5)
    image, power = torch.zeros(batch, 3, size, size), torch.zeros(batch, 1, 1, 1)
    cells = 2
    while cells <= size:
        noise = torch.randn(batch, 3, cells, cells, generator=generator)
        weight = cells**-slope
        image += weight * F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
        power += weight**2
        cells *= 2
    return (brightness + contrast * image / power.sqrt()).clamp(0, 1)


def _spread_predictors(detector: Detector, generator: torch.Generator) -> None:
    for name, module in detector.head.named_modules():
        if name.endswith("_pred") and isinstance(module, nn.Conv2d) and not module.weight.any():
            spread = _PREDICTOR_SPREAD / module.in_channels**0.5
            weight = torch.randn(module.weight.shape, generator=generator) * spread
            module.weight.copy_(weight)
