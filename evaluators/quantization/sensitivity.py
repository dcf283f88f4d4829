"""Which layers suffer most from int8: one layer quantized at a time, judged by the network's outputs.

The paper (section 2.5.2, "sensitivity analysis") finds the few layers that are worth keeping in float by
quantizing each alone and comparing with the float network by MSE, SNR or cosine similarity.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.quantization.ptq import enable, quantized_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

MAX_IMAGES = 16  # enough to rank layers; the cost is a pass per layer over all of them


class LayerSensitivity(NamedTuple):
    """How far the outputs move when only this layer is quantized.

    Attributes:
        name: of the layer in the network.
        damage: 0 for no change, larger is worse; the unit depends on the metric.
    """

    name: str
    damage: float


def rank_layers(
    network: "nn.Module", calibration: Sequence[NDArray[np.float32]], metric: str
) -> tuple[LayerSensitivity, ...]:
    """All quantized layers, most sensitive first; equal ones in order of definition.

    Args:
        network: a detector with calibrated quantizers (`ptq.insert_quantizers`); all are on afterwards.
        calibration: B,3,H,W batches; the first 16 images are used.
        metric: mse, cosine or snr, each over class logits and distances before decoding.
    """
    damage_of = METRICS[metric]
    batches = _first(calibration, MAX_IMAGES)
    names = quantized_layers(network)
    layers = [network.get_submodule(name) for name in names]
    for layer in layers:
        enable(layer, False)
    expected = [_outputs(network, images) for images in batches]
    ranking = []
    for name, layer in zip(names, layers, strict=True):
        enable(layer, True)
        damages = [
            damage_of(got, true)
            for images, outputs in zip(batches, expected, strict=True)
            for got, true in zip(_outputs(network, images), outputs, strict=True)
        ]
        ranking.append(LayerSensitivity(name, float(np.mean(damages))))
        enable(layer, False)
    for layer in layers:
        enable(layer, True)
    return tuple(sorted(ranking, key=lambda layer: -layer.damage))


def mse(got: "Tensor", expected: "Tensor") -> float:
    """Mean squared error."""
    return float((got - expected).square().mean())


def cosine(got: "Tensor", expected: "Tensor") -> float:
    """One minus the cosine similarity of all values as one vector: 0..2."""
    import torch

    similarity = torch.nn.functional.cosine_similarity(
        got.flatten().double(), expected.flatten().double(), dim=0
    )
    return 1.0 - float(similarity)


def snr(got: "Tensor", expected: "Tensor") -> float:
    """Power of the noise over power of the signal: the inverse of the signal-to-noise ratio."""
    return float((got - expected).square().sum() / expected.square().sum().clamp_min(1e-30))


METRICS: Mapping[str, Callable[["Tensor", "Tensor"], float]] = {"mse": mse, "cosine": cosine, "snr": snr}


def _outputs(network: "nn.Module", images: NDArray[np.float32]) -> tuple["Tensor", "Tensor"]:
    import torch

    with torch.inference_mode():
        output = network(torch.from_numpy(images))
    return output.class_logits, output.distances


def _first(batches: Sequence[NDArray[np.float32]], images: int) -> list[NDArray[np.float32]]:
    """The first batches that together hold about `images` images, the last one cut."""
    chosen: list[NDArray[np.float32]] = []
    for batch in batches:
        if images <= 0:
            break
        chosen.append(batch[:images])
        images -= len(batch)
    return chosen
