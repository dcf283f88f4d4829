"""Networks with realistic and with randomised numbers, and upstream checkpoints, made for tests."""

import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from yolov6space.candidate import ModelSpec, StageSpec


def tiny_model(
    block: str = "rep", conv: str = "repvgg", activation: str = "relu", reg_max: int = 0
) -> ModelSpec:
    """A spec of the family, small enough to build in milliseconds."""

    def stage(channels: int, repeats: int) -> StageSpec:
        hidden = channels // 2 if block == "csp_rep" else None
        return StageSpec(block=block, channels=channels, repeats=repeats, hidden_channels=hidden)

    return ModelSpec(
        stem_channels=8,
        backbone=(stage(8, 1), stage(16, 2), stage(24, 2), stage(32, 1)),
        neck=(stage(16, 2), stage(16, 1), stage(24, 2), stage(32, 1)),
        head_channels=(16, 24, 32),
        conv=conv,
        activation=activation,
        reg_max=reg_max,
    )


def randomise_norms(module: nn.Module, seed: int = 0) -> None:
    """Give every BatchNorm of `module` random statistics, weights and offsets of ordinary size (in place)."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            shape = norm.running_var.shape
            norm.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
            norm.running_mean.copy_(0.2 * torch.randn(shape, generator=generator))
            norm.weight.data.copy_(0.5 + torch.rand(shape, generator=generator))
            norm.bias.data.copy_(0.3 * torch.randn(shape, generator=generator))


def relative_difference(one: Tensor, other: Tensor) -> float:
    """Largest absolute difference as a part of the largest absolute value."""
    return float((one - other).abs().max() / other.abs().max())


def random_upstream(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors for upstream names, of a size that keeps the signal of a deep network in range."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if name == "detect.proj":
            return torch.arange(shape[0], dtype=torch.float32)
        if name == "detect.proj_conv.weight":
            return torch.arange(shape[1], dtype=torch.float32).reshape(shape)
        if name.endswith(("running_var", "alpha")) or (len(shape) == 1 and name.endswith("weight")):
            return 0.5 + torch.rand(shape, generator=generator)
        if len(shape) == 1:
            return 0.1 * torch.randn(shape, generator=generator)
        fan_in = shape[1] * shape[2] * shape[3]
        return torch.randn(shape, generator=generator) / fan_in**0.5

    return {name: draw(name, shape) for name, shape in shapes.items()}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a `name 16x3x3x3` list."""
    shapes = {}
    for line in path.read_text().splitlines():
        name, _, text = line.partition(" ")
        shapes[name] = () if text == "scalar" else tuple(int(part) for part in text.split("x"))
    return shapes


@contextmanager
def upstream_classes() -> Iterator[types.ModuleType]:
    """Throw-away modules `yolov6.*` with classes of the upstream names; gone again at the end."""
    names = ("yolov6", "yolov6.models", "yolov6.models.yolo", "yolov6.layers", "yolov6.layers.common")
    modules = {name: types.ModuleType(name) for name in names}
    for module, cls in (("yolov6.models.yolo", "Model"), ("yolov6.layers.common", "Part")):
        made = type(cls, (nn.Module,), {"__module__": module})
        setattr(modules[module], cls, made)
    sys.modules.update(modules)
    try:
        yield modules["yolov6.models.yolo"]
    finally:
        for name in names:
            del sys.modules[name]


def save_upstream(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    entry: str = "model",
    half: bool = False,
    legacy: bool = False,
    activation: type[nn.Module] = nn.ReLU,
    epsilon: float = 1e-3,
) -> None:
    """Write a checkpoint as the upstream trainer does: a pickle of whole module objects."""
    with upstream_classes() as models, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older format would like to store the classes' source text
        model = models.Model()
        model.nc = 80
        part = sys.modules["yolov6.layers.common"].Part
        for name, tensor in tensors.items():
            *path_, leaf = name.split(".")
            module = model
            for step in path_:
                if step not in module._modules:
                    norm = step == "bn" or step == "rbr_identity"
                    module.add_module(step, nn.BatchNorm2d(1, eps=epsilon) if norm else part())
                module = module._modules[step]
            buffer = leaf.startswith(("running", "num_batches")) or name == "detect.proj"
            table = module._buffers if buffer else module._parameters
            value = tensor.half() if half and tensor.is_floating_point() else tensor
            table[leaf] = value if buffer else nn.Parameter(value, requires_grad=False)
        stem = model.get_submodule("backbone.stem")
        (stem.block if hasattr(stem, "block") else stem).add_module("act", activation())
        torch.save(
            {"model": None, "ema": None, "epoch": -1, "optimizer": None, entry: model},
            path,
            _use_new_zipfile_serialization=not legacy,
        )
