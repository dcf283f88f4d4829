"""RepOptimizer training, its first half: find the scales of a `repopt` network by a short training (arXiv 2205.15242).

The second half, scale-aware SGD, is in `step.Stepper`; what the scales mean is in `yolov6space.networks.repopt`.
"""

from pathlib import Path

import torch

from search.training.options import TrainedNetwork
from search.training.weights import read_weights
from yolov6space.candidate import ModelSpec
from yolov6space.networks.repopt import Scales, build_scale_search, learned_scales

SHARE = (
    0.1  # of the epochs, on top of them; the paper searches on another data set and leaves the length open
)
FOLDER = "scales"


def search_epochs(epochs: int) -> int:
    """Epochs of the search for scales before a training of that many."""
    return max(1, round(SHARE * epochs))


def scales_from(trained: TrainedNetwork | Path, model: ModelSpec, num_classes: int) -> dict[str, Scales]:
    """The scales by layer name that a search form has learnt.

    Raises:
        UserError: the weights are missing or damaged.
    """
    weights = trained if isinstance(trained, Path) else trained.weights
    with torch.random.fork_rng(devices=[]):
        network = build_scale_search(model, num_classes)
    network.load_state_dict(read_weights(weights))
    return learned_scales(network)
