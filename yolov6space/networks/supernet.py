"""One network whose weights many candidates share: each takes its slices of the largest kernels.

A weight is named as in the candidates' own networks. Of a layer that several of them have, the first channels are
those of the narrow ones (slimmable networks, arXiv 1812.08928; single path one-shot, arXiv 1904.00420; once-for-all,
arXiv 1908.09791). Where a layer reads a concatenation, each part of its inputs is sliced for itself, so that
a channel means the same thing at every width. Kinds of blocks have weights of their own, kinds of 3x3 convolutions
share the 3x3 kernel.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from yolov6space.candidate import ModelSpec, StageSpec
from yolov6space.networks.detector import Detector, HeadOutput, build
from yolov6space.networks.head import BOX_BIAS, CLASS_BIAS

Parts = tuple[int, ...]  # channels of the maps that are concatenated, in order; one for an ordinary input
Extent = tuple[Parts, ...]  # of a tensor, dimension by dimension


class Supernet(Detector):
    """Weights for every architecture of a list, and for all others that are nowhere wider or deeper than these.

    `forward` runs the active architecture with its slices, in training form: normalised by the batch, without
    running statistics. `detector` copies the slices of one architecture into a network of its own.

    Attributes:
        models: the architectures that it was made for, with the head that all of them share.
        active: which of them `forward` runs.
    """

    def __init__(self, models: Sequence[ModelSpec], num_classes: int, reg_max: int) -> None:
        """Fresh weights from PyTorch's global random generator.

        Args:
            reg_max: of the shared head; what the architectures say of theirs is left out.

        Raises:
            ValueError: no architecture.
        """
        if not models:
            raise ValueError("a supernet needs at least one architecture")
        nn.Module.__init__(self)
        self.num_classes = num_classes
        self.models = tuple(dict.fromkeys(replace(model, reg_max=reg_max) for model in models))
        self.model = self.models[0]
        self._extents: dict[str, Extent] = {}
        for model in _envelopes(self.models):
            for name, extent in _extents(model, num_classes).items():
                self._extents[name] = _largest(extent, self._extents.get(name, extent))
        for name, extent in self._extents.items():
            self.register_parameter(_stored(name), nn.Parameter(_fresh(name, extent)))

    @property
    def active(self) -> ModelSpec:
        """The architecture that `forward` runs."""
        return self.model

    def activate(self, model: ModelSpec) -> None:
        """Make `forward` run this architecture. Raises ValueError where `covers` says no."""
        self.model = self._own(model)

    def activate_for(self, step: int) -> None:
        """One of its architectures at random: always the same for a step."""
        self.model = random.Random(step).choice(self.models)

    def covers(self, model: ModelSpec) -> bool:
        """Whether it has weights for this architecture; the head's own form aside."""
        wanted = _extents(replace(model, reg_max=self.model.reg_max), self.num_classes)
        return all(
            name in self._extents and _largest(extent, self._extents[name]) == self._extents[name]
            for name, extent in wanted.items()
        )

    def forward(self, images: Tensor) -> HeadOutput:
        """As of `Detector`, by the active architecture."""
        skeleton = _skeleton(self.model, self.num_classes)
        output: HeadOutput = functional_call(skeleton, self._slices(self.model), (images,))
        return output

    def detector(self, model: ModelSpec) -> Detector:
        """A network of its own in training form, with copies of the shared weights and the shared head's form.

        Its BatchNorm statistics are those of a new network: they have to be measured before it is of use.

        Raises:
            ValueError: `covers` says no.
        """
        model = self._own(model)
        with torch.random.fork_rng(devices=[]):
            detector = build(model, self.num_classes)
        detector.load_state_dict(
            {name: tensor.detach().clone() for name, tensor in self._slices(model).items()}, strict=False
        )
        return detector

    def _own(self, model: ModelSpec) -> ModelSpec:
        if not self.covers(model):
            raise ValueError("the shared weights do not reach as far as this architecture")
        return replace(model, reg_max=self.model.reg_max)

    def _slices(self, model: ModelSpec) -> dict[str, Tensor]:
        """The weights of an architecture by their names in its own network; views where that is possible."""
        found: dict[str, Tensor] = {}
        for name, extent in _extents_by_name(model, self.num_classes).items():
            shared = _shared_name(name)
            tensor: Tensor = self.get_parameter(_stored(shared))
            for dimension, parts in enumerate(extent):
                tensor = _slice(tensor, dimension, parts, self._extents[shared][dimension])
            found[name] = tensor
        return found


def _slice(tensor: Tensor, dimension: int, parts: Parts, held: Parts) -> Tensor:
    """The first channels of every part along one dimension."""
    if parts == held:
        return tensor
    starts = [sum(held[:place]) for place in range(len(held))]
    pieces = [tensor.narrow(dimension, start, size) for start, size in zip(starts, parts, strict=True)]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dimension)


def _envelopes(models: Sequence[ModelSpec]) -> list[ModelSpec]:
    """As wide and deep as any of them in every place, once for each kind of convolution and of block there is."""
    some = models[0]
    found = []
    for conv in dict.fromkeys(model.conv for model in models):
        for wanted in dict.fromkeys(stage.block for model in models for stage in _stages(model)):
            columns = zip(*map(_stages, models), strict=True)
            b2, b3, b4, b5, p4, p3, n3, n4 = (_envelope(column, wanted) for column in columns)
            found.append(
                replace(
                    some,
                    conv=conv,
                    stem_channels=max(model.stem_channels for model in models),
                    backbone=(b2, b3, b4, b5),
                    neck=(p4, p3, n3, n4),
                    head_channels=tuple(
                        max(widths) for widths in zip(*(m.head_channels for m in models), strict=True)
                    ),
                )
            )
    return found


def _stages(model: ModelSpec) -> tuple[StageSpec, ...]:
    return (*model.backbone, *model.neck)


def _envelope(stages: Sequence[StageSpec], wanted: str) -> StageSpec:
    """The largest of one place, of the wanted kind where any is."""
    kind = wanted if any(stage.block == wanted for stage in stages) else stages[0].block
    hidden = [stage.hidden_channels for stage in stages if stage.hidden_channels is not None]
    return StageSpec(
        block=kind,
        channels=max(stage.channels for stage in stages),
        repeats=max(stage.repeats for stage in stages if stage.block == kind),
        hidden_channels=max(hidden) if kind == "csp_rep" else None,
    )


def _largest(one: Extent, other: Extent) -> Extent:
    return tuple(tuple(map(max, mine, its)) for mine, its in zip(one, other, strict=True))


def _extents(model: ModelSpec, num_classes: int) -> dict[str, Extent]:
    """Extents of an architecture's weights by the names under which they are shared."""
    named = _extents_by_name(model, num_classes)
    return {_shared_name(name): extent for name, extent in named.items()}


def _extents_by_name(model: ModelSpec, num_classes: int) -> dict[str, Extent]:
    inputs = _concatenated(model)
    found: dict[str, Extent] = {}
    for name, parameter in _skeleton(model, num_classes).named_parameters():
        shape: list[Parts] = [(size,) for size in parameter.shape]
        parts = next((parts for layer, parts in inputs.items() if name.startswith(f"{layer}.")), None)
        if parts is not None and len(shape) == 4:
            shape[1] = parts
        found[name] = tuple(shape)
    return found


def _concatenated(model: ModelSpec) -> dict[str, Parts]:
    """Layers that read a concatenation, with the channels of its parts in order (`neck.py`, `stages.py`)."""
    _, at8, at16, at32 = (stage.channels for stage in model.backbone)
    p4, p3, _, _ = (stage.channels for stage in model.neck)
    found: dict[str, Parts] = {"backbone.sppf.expand": (at32 // 2,) * 4}
    into = {"p4": (p4, at16), "p3": (p3, at8), "n3": (p3, p3), "n4": (p4, p4)}
    for (name, parts), stage in zip(into.items(), model.neck, strict=True):
        first = ("blocks.0",) if stage.block == "rep" else ("main", "side")
        found |= {f"neck.{name}.{layer}": parts for layer in first}
    stages = {f"backbone.stage{number}": stage for number, stage in enumerate(model.backbone, 2)}
    stages |= {f"neck.{name}": stage for name, stage in zip(into, model.neck, strict=True)}
    for name, stage in stages.items():
        if stage.hidden_channels is not None:
            found[f"{name}.merge"] = (stage.hidden_channels, stage.hidden_channels)
    return found


@lru_cache(maxsize=64)
def _skeleton(model: ModelSpec, num_classes: int) -> Detector:
    """The architecture's network without weights, normalising by the batch alone."""
    with torch.device("meta"):
        skeleton = build(model, num_classes)
    for module in skeleton.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return skeleton


def _shared_name(name: str) -> str:
    """Kinds of 3x3 convolutions call the same kernel `conv3x3` or `conv`."""
    return name.replace(".conv3x3.", ".conv.")


def _stored(name: str) -> str:
    """Names of parameters hold no dots."""
    return name.replace(".", "/")


def _fresh(name: str, extent: Extent) -> Tensor:
    """First values as in a new network: PyTorch's for kernels, ones for scales, the head's own for its predictors."""
    tensor = torch.zeros([sum(parts) for parts in extent])
    if name.endswith("_pred.weight"):
        return tensor
    if name.endswith("_pred.bias"):
        return tensor + (CLASS_BIAS if "cls_pred" in name else BOX_BIAS)
    if tensor.ndim > 1:
        nn.init.kaiming_uniform_(tensor, a=5**0.5)
    elif not name.endswith("bias"):
        nn.init.ones_(tensor)
    return tensor
