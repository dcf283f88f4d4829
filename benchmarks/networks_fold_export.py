"""Fold, export and run random candidates of the whole space; how far the three forms differ.

Two settings per candidate. `fold` and `onnx`: BatchNorm statistics, weights and offsets drawn at random, held
to the bars of the project (fold 1e-5 of the output's scale, ONNX Runtime 1e-4). `fold_realistic`: with the
statistics of `realistic_statistics`, without a bar; it shows how far a deep untrained network amplifies
rounding.

    python benchmarks/networks_fold_export.py --count 200 --seed 0

Prints one JSON object; exit code 1 if a bar is missed.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from yolov6space.cost import layers
from yolov6space.networks import DeployGraph, Detector, build, export_onnx, fuse, realistic_statistics
from yolov6space.networks.initialise import noise_images
from yolov6space.space import Space

SIZE, CLASSES = 64, 3
FOLD_BAR, ONNX_BAR = 1e-5, 1e-4
LOGIT_LIMIT = 20.0  # scores are 2e-9 from 0 or 1 there


def difference(one: Tensor, other: Tensor) -> float:
    """Largest absolute difference as a part of the largest absolute value."""
    return float((one - other).abs().max() / other.abs().max())


def randomise_norms(detector: Detector, generator: torch.Generator) -> None:
    """Random statistics, weights and offsets of ordinary size."""
    for norm in detector.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_var is not None and norm.running_mean is not None
            shape = norm.weight.shape
            norm.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
            norm.running_mean.copy_(0.2 * torch.randn(shape, generator=generator))
            norm.weight.data.copy_(0.5 + torch.rand(shape, generator=generator))
            norm.bias.data.copy_(0.3 * torch.randn(shape, generator=generator))


@torch.no_grad()
def bound_logits(detector: Detector, images: Tensor) -> float:
    """Scale class predictors down so that no logit exceeds `LOGIT_LIMIT`; the largest one before.

    Random statistics make the signal of some deep candidates explode (logits of 1e5 were seen). Float32 leaves
    such a logit an error near 1, so that scores compare noise with noise, in PyTorch against float64 as well.
    """
    largest = float(detector(images).class_logits.abs().max())
    if largest > LOGIT_LIMIT:
        for name, parameter in detector.head.named_parameters():
            if "cls_pred" in name:
                parameter.mul_(LOGIT_LIMIT / largest)
    return largest


@torch.no_grad()
def fold_difference(detector: Detector, folded: Detector, images: Tensor) -> float:
    """Of class logits and distances, the larger."""
    trained, deployed = detector(images), folded(images)
    return max(difference(deployed[part], trained[part]) for part in (0, 1))


@torch.no_grad()
def onnx_difference(folded: Detector, images: Tensor, path: Path) -> float:
    """Of boxes and scores, the larger."""
    export_onnx(folded, path, SIZE, 1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(["boxes", "scores"], {"images": images.numpy()})
    expected = DeployGraph(folded)(images)
    return max(difference(torch.from_numpy(f), e) for f, e in zip(found, expected, strict=True))


def layers_agree(detector: Detector, folded: Detector) -> bool:
    """Whether the built network has exactly the weights of the analytic table, layer by layer."""
    built: dict[str, int] = {}
    for name, parameter in folded.named_parameters():
        layer = name.rpartition(".")[0].removesuffix(".conv")
        if not name.endswith(".alpha"):
            built[layer] = built.get(layer, 0) + parameter.numel()
    table = {
        row.name: row.params for row in layers(detector.model, num_classes=CLASSES) if row.macs and row.params
    }
    return built == table


def main() -> int:
    """Run; 0 when every bar holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng, space = random.Random(arguments.seed), Space.paper()
    images = noise_images(1, SIZE, torch.Generator().manual_seed(arguments.seed))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(arguments.count):
            candidate = space.sample(rng)
            torch.manual_seed(index)
            detector = realistic_statistics(build(candidate.model, CLASSES), index).eval()
            realistic = fold_difference(detector, fuse(detector), images)
            randomise_norms(detector, torch.Generator().manual_seed(index))
            largest = bound_logits(detector, images)
            folded = fuse(detector)
            row = {
                "key": candidate.key,
                "fold": fold_difference(detector, folded, images),
                "onnx": onnx_difference(folded, images, Path(folder) / "model.onnx"),
                "layers_agree": layers_agree(detector, folded),
                "fold_realistic": realistic,
                "largest_logit": largest,
            }
            rows.append(row)
            print(index, row, file=sys.stderr)
    worst = {name: max(row[name] for row in rows) for name in ("fold", "onnx", "fold_realistic")}
    scaled = sum(row["largest_logit"] > LOGIT_LIMIT for row in rows)
    agree = sum(bool(row["layers_agree"]) for row in rows)
    print(
        json.dumps(
            {"candidates": len(rows), "worst": worst, "layers_agree": agree, "scaled_down": scaled}, indent=2
        )
    )
    return int(worst["fold"] > FOLD_BAR or worst["onnx"] > ONNX_BAR or agree < len(rows))


if __name__ == "__main__":
    sys.exit(main())
