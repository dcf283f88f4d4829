"""Trained weights on disk: safetensors of a detector in training form."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from foundation.errors import UserError
from search.atomic import written_whole
from yolov6space.candidate import ModelSpec
from yolov6space.networks import Detector, build

CLASS_LAYER = ".cls_pred."


def save_detector(detector: Detector, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write the weights atomically: a kill leaves the old file or the whole new one."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    with written_whole(path) as file:  # not `save_file`, which keeps others from reading the file
        file.write(save(state, dict(metadata or {})))


def load_detector(model: ModelSpec, num_classes: int, weights: Path) -> Detector:
    """A detector in training form, switched to eval mode, with weights that `save_detector` wrote.

    Raises:
        UserError: the file is missing or damaged, or belongs to another network or number of classes.
    """
    detector = build(model, num_classes)
    state = read_weights(weights)
    expected = detector.state_dict()
    if _wrong(state, expected):
        raise _misfit(weights, state, expected)
    detector.load_state_dict(state)
    return detector.eval()


def initialise_from(detector: Detector, weights: Path) -> None:
    """Start `detector` from earlier weights; class predictors of another number of classes stay fresh.

    Raises:
        UserError: the file is missing or damaged, or belongs to another network.
    """
    state, expected = read_weights(weights), detector.state_dict()
    wrong = _wrong(state, expected)
    if any(CLASS_LAYER not in name for name in wrong):
        raise _misfit(weights, state, expected)
    detector.load_state_dict(
        {name: tensor for name, tensor in state.items() if name not in wrong}, strict=False
    )


def read_weights(weights: Path) -> dict[str, Tensor]:
    """Tensors by name. Raises UserError when the file is missing or damaged."""
    try:
        return load_file(weights)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: cannot be read as weights ({error}); train the network again") from error


def require_finite(weights: Path) -> None:
    """Raises UserError when a value in the file is no finite number, or the file is missing or damaged."""
    tensors = read_weights(weights)
    broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if broken:
        raise UserError(
            f"{weights}: {len(broken)} of {len(tensors)} tensors hold values that are no finite numbers, first "
            f"{broken[0]}; train the network again"
        )


def _wrong(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> set[str]:
    """Names that only one side has, or that differ in shape."""
    return {
        name
        for name in state.keys() | expected.keys()
        if name not in state or name not in expected or state[name].shape != expected[name].shape
    }


def _misfit(weights: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> UserError:
    name = min(_wrong(state, expected))
    ours, theirs = (_shape(tensors.get(name)) for tensors in (expected, state))
    return UserError(f"{weights}: weights of another network: {name} is {theirs} there, {ours} here")


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape)) or "one number"


def same_weights(first: Detector, second: Detector) -> bool:
    """Whether two detectors have bit for bit the same weights and statistics."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
