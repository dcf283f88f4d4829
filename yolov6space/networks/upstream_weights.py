"""An upstream checkpoint as a detector of ours: which variant it is, and every tensor in its place.

Layers may be in training form or folded, each on its own. A folded layer becomes a training-form layer that
does the same (its kernel in the 3x3 branch, the other branches silent), so that whatever follows knows one
form only and folding gives the checkpoint's kernel back.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from foundation.errors import UserError
from yolov6space.candidate import Candidate
from yolov6space.networks.blocks import BN_EPSILON, ConvBlock, ConvNorm, RepVGGConv
from yolov6space.networks.detector import Detector, build
from yolov6space.networks.upstream_modules import UpstreamModel, read_model
from yolov6space.networks.upstream_names import (
    BARE,
    CONSTANTS,
    FOLDED_REP,
    WRAPPED,
    upstream_layer,
    upstream_tensor,
)
from yolov6space.variants import official

_STEM = "backbone.stem"
_SHOWN = 6  # tensors named in a refusal


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported checkpoint.

    Attributes:
        variant: name of the official variant.
        candidate: that variant; with convolutions of kind `repopt` where the checkpoint was trained so.
        detector: training form, float32, eval mode.
        folded: whether the checkpoint's 3x3 blocks were in deploy form.
    """

    variant: str
    candidate: Candidate
    detector: Detector
    folded: bool


def import_checkpoint(path: Path | str) -> Imported:
    """Read a checkpoint of release 0.2.x; the outputs are those of the upstream model.

    Raises:
        UserError: not readable, hostile, not one of N, T, S, M, L-ReLU, L, or tensors missing or left over.
    """
    found = read_model(path)
    try:
        return translate(found)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def translate(found: UpstreamModel) -> Imported:
    """The detector that the tensors of an upstream model describe. Raises UserError."""
    variant, candidate, folded = _recognise(found)
    classes = found.tensors.get("detect.cls_preds.0.weight")
    if classes is None or classes.ndim != 4 or not len(classes):
        raise UserError("it has no class predictor (detect.cls_preds): a backbone alone, or another family")
    detector = build(candidate.model, len(classes)).eval()
    translation = _Translation(found)
    for name, layer in detector.named_modules():
        if isinstance(layer, ConvBlock | nn.Conv2d | nn.ConvTranspose2d) and not _inside_block(
            detector, name
        ):
            translation.layer(name, layer)
    for name, _ in detector.named_parameters():
        if name.endswith(".alpha"):
            translation.take(name, upstream_layer(name))
    translation.finish(detector, variant)
    return Imported(variant, candidate, detector, folded)


def _recognise(found: UpstreamModel) -> tuple[str, Candidate, bool]:
    """Variant, candidate, and whether the 3x3 blocks are folded; by the stem and its activation."""
    kinds = {
        f"{_STEM}.rbr_dense.conv.weight": ("repvgg", False),
        f"{_STEM}.{FOLDED_REP}.weight": ("repvgg", True),
        f"{_STEM}.{WRAPPED}.weight": ("plain", f"{_STEM}.block.bn.weight" not in found.tensors),
        f"{_STEM}.{BARE}.weight": ("repopt", f"{_STEM}.bn.weight" not in found.tensors),
    }
    stem = next((name for name in kinds if name in found.tensors), None)
    if stem is None or found.tensors[stem].ndim != 4:
        raise UserError(
            f"it has no {_STEM} of YOLOv6 0.2; its tensors begin with {', '.join(sorted(found.tensors)[:3])}"
        )
    kind, folded = kinds[stem]
    activation = {"torch.nn.modules.activation.SiLU": "silu", "torch.nn.modules.activation.ReLU": "relu"}.get(
        next((name for place, name in found.classes.items() if _is_activation_of_stem(place)), "")
    )
    width = len(found.tensors[stem])
    for name, candidate in official().items():
        model = candidate.model
        same_kind = model.conv == kind or (kind == "repopt" and model.conv == "repvgg")
        if model.stem_channels == width and same_kind and activation in (None, model.activation):
            return name, dataclasses.replace(candidate, model=dataclasses.replace(model, conv=kind)), folded
    raise UserError(
        f"a stem of {width} channels, kind {kind}, activation {activation or 'unknown'}: none of "
        f"{', '.join(official())}; only these can be imported"
    )


def _is_activation_of_stem(place: str) -> bool:
    return place.startswith(f"{_STEM}.") and place.endswith((".act", ".nonlinearity", ".relu"))


def _inside_block(detector: Detector, name: str) -> bool:
    """Whether a module is a part of a block that is translated as a whole."""
    return isinstance(detector.get_submodule(name.rpartition(".")[0]), ConvBlock)


class _Translation:
    """Collects our state dict and what is amiss."""

    def __init__(self, found: UpstreamModel) -> None:
        self.found, self.left = found, set(found.tensors)
        self.state: dict[str, Tensor] = {}
        self.missing: list[str] = []

    def take(self, ours: str, theirs: str) -> Tensor | None:
        """Move one tensor over; notes it as missing where it is not there."""
        self.left.discard(theirs)
        tensor = self.found.tensors.get(theirs)
        if tensor is None:
            self.missing.append(theirs)
            return None
        self.state[ours] = tensor.float() if tensor.is_floating_point() else tensor
        return self.state[ours]

    def layer(self, name: str, layer: nn.Module) -> None:
        theirs = upstream_layer(name)
        present = self.found.tensors
        wrapped = type(layer) is ConvNorm and f"{theirs}.{WRAPPED}.weight" in present
        place = WRAPPED if wrapped else BARE
        if isinstance(layer, RepVGGConv) and f"{theirs}.{FOLDED_REP}.weight" in present:
            self._folded(name, layer, f"{theirs}.{FOLDED_REP}")
        elif isinstance(layer, ConvNorm) and _is_folded(present, theirs, place):
            self._folded(name, layer, f"{theirs}.{place}")
        else:
            self._trained(name, layer, theirs, wrapped)

    def _trained(self, name: str, layer: nn.Module, theirs: str, wrapped: bool) -> None:
        for tensor in layer.state_dict():
            source = upstream_tensor(theirs, tensor, wrapped)
            if not tensor.endswith("num_batches_tracked") or source in self.left:
                self.take(f"{name}.{tensor}", source)
            else:
                self.state[f"{name}.{tensor}"] = torch.tensor(0)
        norms = [part for part, module in layer.named_modules() if isinstance(module, nn.BatchNorm2d)]
        for part in norms:
            self._same_epsilon(f"{name}.{part}", upstream_tensor(theirs, f"{part}.", wrapped).rstrip("."))
        if norms == ["bn"]:
            self._shift_mean(f"{name}.bn.running_mean", upstream_tensor(theirs, "conv.bias", wrapped))

    def _shift_mean(self, mean: str, bias: str) -> None:
        """A bias in front of BatchNorm only shifts its mean; our convolutions have none there."""
        shift, own = self.found.tensors.get(bias), self.state.get(mean)
        if shift is not None and own is not None and own.shape == shift.shape:
            self.state[mean] = own - shift.float()
            self.left.discard(bias)

    def _same_epsilon(self, ours: str, theirs: str) -> None:
        """Keep the function where a checkpoint's BatchNorm has another epsilon than ours."""
        epsilon = self.found.epsilons.get(theirs, BN_EPSILON)
        variance = self.state.get(f"{ours}.running_var")
        if epsilon != BN_EPSILON and variance is not None:
            self.state[f"{ours}.running_var"] = variance + (epsilon - BN_EPSILON)

    def _folded(self, name: str, layer: ConvBlock, theirs: str) -> None:
        main, norm = ("conv3x3", "bn3x3") if isinstance(layer, RepVGGConv) else ("conv", "bn")
        for tensor, value in layer.state_dict().items():
            silent = tensor.startswith(("bn_identity.", "conv1x1.")) and tensor.endswith(".weight")
            if tensor.endswith("running_var") or (tensor.endswith(".weight") and not silent):
                self.state[f"{name}.{tensor}"] = torch.ones_like(value)
            else:
                self.state[f"{name}.{tensor}"] = torch.zeros_like(value)
        self.state[f"{name}.{norm}.running_var"] -= BN_EPSILON
        self.take(f"{name}.{main}.weight", f"{theirs}.weight")
        self.take(f"{name}.{norm}.bias", f"{theirs}.bias")

    def finish(self, detector: Detector, variant: str) -> None:
        """Check completeness and shapes, then load."""
        left = sorted(self.left.difference(CONSTANTS))
        if self.missing or left:
            raise UserError(
                f"it is not {variant} of release 0.2: {_listing('missing', self.missing)}; "
                f"{_listing('unexpected', left)}"
            )
        expected = detector.state_dict()
        wrong = [
            f"{name} {tuple(tensor.shape)} instead of {tuple(expected[name].shape)}"
            for name, tensor in self.state.items()
            if tensor.shape != expected[name].shape
        ]
        if wrong:
            raise UserError(f"it is not {variant} of release 0.2: {_listing('other shapes', wrong)}")
        bad = [name for name, tensor in self.state.items() if not tensor.isfinite().all()]
        if bad:
            raise UserError(f"it holds numbers that are not finite: {_listing('tensors', bad)}")
        detector.load_state_dict(self.state)


def _is_folded(present: Mapping[str, Tensor], theirs: str, place: str) -> bool:
    norm = place.replace("conv", "bn")
    return f"{theirs}.{place}.bias" in present and f"{theirs}.{norm}.weight" not in present


def _listing(title: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {title}" + (f" ({', '.join(names[:_SHOWN])}{more})" if names else "")
