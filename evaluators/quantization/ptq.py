"""Post-training quantization to int8 through NVIDIA's Model Optimizer, on the CPU.

Every convolution and transposed convolution gets 8-bit weights (one scale per output channel) and an 8-bit
input (one scale per tensor), symmetric and signed, with ranges from the largest absolute value seen (max
calibration). The same Q/DQ graph is INT8 for OpenVINO and for TensorRT. Pooling and concatenation carry no
quantizers: the engines move the surrounding ones through them, and a scale of their own would force a
requantization. Decoding of boxes and scores stays in float.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evaluators.denormals import denormals_flushed
from foundation.errors import UserError, WorkFailedError
from yolov6space.candidate import Precision

if TYPE_CHECKING:
    from torch import nn

_BITS = 8
_CONFIG: dict[str, Any] = {
    "quant_cfg": [
        {"quantizer_name": "*", "enable": False},
        {
            "quantizer_name": "*weight_quantizer",
            "parent_class": "nn.Conv2d",
            "cfg": {"num_bits": _BITS, "axis": 0},
        },
        {
            # the weights of a transposed convolution are I,O,k,k
            "quantizer_name": "*weight_quantizer",
            "parent_class": "nn.ConvTranspose2d",
            "cfg": {"num_bits": _BITS, "axis": 1},
        },
        *(
            {
                "quantizer_name": "*input_quantizer",
                "parent_class": layer,
                "cfg": {"num_bits": _BITS, "axis": None},
            }
            for layer in ("nn.Conv2d", "nn.ConvTranspose2d")
        ),
    ],
    "algorithm": "max",
}


_HALF = 2.0  # of the scale: weights within -64..64, and twice 255 * 64 fits into 16 bits


def quantize(
    folded: "nn.Module",
    calibration: Sequence[NDArray[np.float32]],
    precision: Precision,
    *,
    half_weights: bool = False,
) -> tuple[str, ...]:
    """Put fake quantizers into a folded network, in place, and calibrate them.

    Args:
        folded: deploy form on the CPU, in eval mode.
        calibration: B,3,H,W batches (RGB, 0..1), at least one.
        precision: int8; `float_layers` of its layers, chosen by its metric, stay in float.
        half_weights: use half the range for weights (`devices.overflows_int8` knows who needs it).

    Returns:
        Names of the layers left in float, most sensitive first.

    Raises:
        UserError: a sensitivity metric this release does not have, or no layer would be int8.
        WorkFailedError: the network's values overflow or are no numbers.
    """
    if precision.metric == "ap":
        raise UserError("sensitivity metric 'ap' is not in this release; use mse, cosine or snr")
    layers = _quantizable(folded)
    if (precision.float_layers or 0) >= layers:
        raise UserError(
            f"{precision.float_layers} layers in float leave none of {layers} in int8; take fewer, or fp32"
        )
    with quiet():
        try:
            insert_quantizers(folded, calibration)
            if half_weights:
                _halve_weights(folded)
        except AssertionError as error:  # what Model Optimizer says of a range that is no number
            raise WorkFailedError(
                f"int8 needs ranges, and the values of this network overflow or are no numbers ({error}); "
                "train it again"
            ) from None
        if not precision.float_layers or precision.metric is None:
            return ()
        from evaluators.quantization.sensitivity import rank_layers

        ranking = rank_layers(folded, calibration, precision.metric)
        chosen = tuple(layer.name for layer in ranking[: precision.float_layers])
        for name in chosen:
            keep_float(folded.get_submodule(name))
    return chosen


def insert_quantizers(folded: "nn.Module", calibration: Sequence[NDArray[np.float32]]) -> None:
    """Turn every convolution into its quantized form, in place, with ranges from `calibration`.

    Without calibration the inputs have no ranges yet (`fine_tuned.load_quantized` knows them).
    """
    import modelopt.torch.quantization as mtq
    import torch

    def run(network: "nn.Module") -> None:
        with torch.inference_mode():
            for images in calibration:
                network(torch.from_numpy(images))

    with denormals_flushed():
        mtq.quantize(folded, _CONFIG, run if calibration else None)


def _halve_weights(folded: "nn.Module") -> None:
    for name in quantized_layers(folded):
        weights, _ = _quantizers(folded.get_submodule(name))
        weights.amax = _HALF * weights.amax


def _quantizable(folded: "nn.Module") -> int:
    from torch import nn

    return sum(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in folded.modules())


def quantized_layers(network: "nn.Module") -> tuple[str, ...]:
    """Names of the layers that carry quantizers, in order of definition."""
    return tuple(name for name, module in network.named_modules() if hasattr(module, "weight_quantizer"))


def enable(layer: "nn.Module", on: bool) -> None:
    """Switch the quantizers of one layer on or off."""
    for quantizer in _quantizers(layer):
        if on:
            quantizer.enable()
        else:
            quantizer.disable()


def keep_float(layer: "nn.Module") -> None:
    """Leave a layer in float for good: its ranges are forgotten."""
    enable(layer, False)
    for quantizer in _quantizers(layer):
        quantizer.reset_amax()


def _quantizers(layer: "nn.Module") -> tuple[Any, Any]:
    return layer.get_submodule("weight_quantizer"), layer.get_submodule("input_quantizer")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Model Optimizer's prints, log records and warnings from the user: they report normal progress."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
