"""A quantized network that was fine-tuned (QAT): how it comes back from the file its training left.

The file is the state dict of the deploy form with quantizers, in safetensors: weights as floats, and the ranges
(`*_quantizer._amax`). A layer without ranges is one that stays in float.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from evaluators.quantization.ptq import insert_quantizers, keep_float, quantized_layers, quiet
from foundation.errors import UserError
from yolov6space.candidate import ModelSpec

if TYPE_CHECKING:
    from yolov6space.networks import Detector


class QuantizedNetwork(NamedTuple):
    """A deploy form with fake quantizers, on the CPU, in eval mode.

    Attributes:
        float_layers: names of its layers that are left in float.
    """

    network: "Detector"
    float_layers: tuple[str, ...]


def load_quantized(model: ModelSpec, num_classes: int, weights: Path) -> QuantizedNetwork:
    """The network that QAT wrote.

    Raises:
        UserError: the file is missing or damaged, or belongs to another network.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from yolov6space.networks import build, fuse

    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{weights}: cannot be read as weights ({error}); run the QAT again") from error
    with torch.random.fork_rng(devices=[]), quiet():
        network = fuse(build(model, num_classes))
        insert_quantizers(network, ())
        floats = []
        for name in quantized_layers(network):
            layer = network.get_submodule(name)
            range_of_input = state.get(f"{name}.input_quantizer._amax")
            if range_of_input is None:
                keep_float(layer)
                floats.append(name)
            else:
                layer.get_submodule("input_quantizer").amax = range_of_input
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"{weights}: not the quantized weights of this network; run the QAT again"
            ) from error
    return QuantizedNetwork(network.eval(), tuple(floats))
