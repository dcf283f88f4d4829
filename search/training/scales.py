"""RepOptimizer training, its first half: find the scales of a `repopt` network by a short training (arXiv 2205.15242).

The second half, scale-aware SGD, is in `step.Stepper`; what the scales mean is in `yolov6space.networks.repopt`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from search.atomic import write_text_whole
from search.training.options import TrainedNetwork
from search.training.run import WEIGHTS_FILE
from search.training.weights import read_weights
from yolov6space.candidate import ModelSpec
from yolov6space.networks.repopt import Scales, build_scale_search, learned_scales

FOLDER = "scales"
_RECORD = "found.json"  # beside the weights of the search form


@dataclass(frozen=True, slots=True)
class FoundScales:
    """What a search for scales ended with.

    Attributes:
        scales: by layer name.
        seconds, images_seen: that it took.
    """

    scales: dict[str, Scales]
    seconds: float
    images_seen: int


def found_before(folder: Path, run: str, model: ModelSpec, num_classes: int) -> FoundScales | None:
    """What this very run has found already, None when there is nothing of it."""
    try:
        told = json.loads((folder / _RECORD).read_text())
        if told["run"] != run or not (folder / WEIGHTS_FILE).is_file():
            return None
        seconds, images_seen = float(told["seconds"]), int(told["images_seen"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return FoundScales(_scales_from(folder / WEIGHTS_FILE, model, num_classes), seconds, images_seen)


def note_found(trained: TrainedNetwork, folder: Path, run: str) -> None:
    """For when this run is killed and called again: the search form in `folder` is trained."""
    told = {"run": run, "seconds": trained.seconds, "images_seen": trained.images_seen}
    write_text_whole(folder / _RECORD, json.dumps(told))


def found_by(trained: TrainedNetwork, model: ModelSpec, num_classes: int) -> FoundScales:
    """What the training of a search form has found."""
    scales = _scales_from(trained.weights, model, num_classes)
    return FoundScales(scales, trained.seconds, trained.images_seen)


def _scales_from(weights: Path, model: ModelSpec, num_classes: int) -> dict[str, Scales]:
    """Raises UserError when the weights are damaged."""
    with torch.random.fork_rng(devices=[]):
        network = build_scale_search(model, num_classes)
    network.load_state_dict(read_weights(weights))
    return learned_scales(network)
