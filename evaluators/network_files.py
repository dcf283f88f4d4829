"""The two files of an artefact that hold a network: weights in the training form, and the graph that is deployed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from yolov6space.candidate import Precision

if TYPE_CHECKING:
    from evaluators.quantization.fine_tuned import QuantizedNetwork
    from yolov6space.networks import Detector


def write_weights(detector: "Detector", file: Path) -> None:
    """Write the weights of the training form in safetensors."""
    from safetensors.torch import save

    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in detector.state_dict().items()}
    file.write_bytes(save(weights))  # `save_file` would keep others from reading it


def write_graph(
    detector: "Detector",
    precision: Precision,
    file: Path,
    *,
    image_size: int,
    batch: int,
    calibration: Sequence[NDArray[np.float32]],
    quantized: "QuantizedNetwork | None",
    half_weights: bool = False,
) -> tuple[str, ...]:
    """Write the folded network as ONNX; returns the layers of an int8 network that stay in float.

    Args:
        detector: training form; not changed.
        calibration: B,3,H,W batches for int8, unless there is a `quantized` network, which is written as it is.
        half_weights: as of `quantize`.
    """
    import torch

    from yolov6space.networks import fuse
    from yolov6space.networks.export import export_onnx

    float_layers: tuple[str, ...] = ()
    # Folding creates layers, which draws random numbers; a training that goes on must not notice.
    with torch.random.fork_rng(devices=[]):
        if quantized is not None:
            folded, float_layers = quantized
        else:
            folded = fuse(detector).cpu().float()
            if precision.kind == "int8":
                from evaluators.quantization.ptq import quantize

                float_layers = quantize(folded, calibration, precision, half_weights=half_weights)
        export_onnx(folded, file, image_size, batch)
    return float_layers
