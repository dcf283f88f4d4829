"""Distillation (paper 2.5.2): a trained teacher's scores and boxes as soft targets beside the labels.

Shape legend: B batch, A anchor points, C classes, P positive anchor points. Everything is float32.

The paper adds KL divergences of the class and of the DFL branch, with a weight that decays by a cosine, so that
labels take over from the teacher. Scores are independent per class here, so the class divergence is one of
Bernoulli distributions; it teaches data of one class too. Where one of the two networks has no DFL, or bins of
another number, the recipe's box loss towards the teacher's boxes stands in for the divergence of the bins.
Quantization-aware training also has the teacher's features (`feature_distill`).
"""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div, logsigmoid

from yolov6space.candidate import ModelSpec
from yolov6space.networks import Detector, HeadOutput, fuse

FINAL_SOFT_SHARE = 0.01  # release 0.2.0


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network for the same classes; `weights` in the training form (`save_detector`)."""

    model: ModelSpec
    weights: Path


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """What the teacher says of a batch, without gradient.

    Attributes:
        class_logits: B,A,C.
        distances: B,A,R in the teacher's own form.
        boxes: B,A,4 (x1, y1, x2, y2) in stride units.
        reg_max: the teacher's; 0 without DFL.
        weight: of the soft targets against the labels, 0..1.
        features: P3, P4, P5 of its neck; empty where they are not taught.
        predictions: whether scores and boxes are taught.
    """

    class_logits: Tensor
    distances: Tensor
    boxes: Tensor
    reg_max: int
    weight: float
    features: tuple[Tensor, ...] = ()
    predictions: bool = True


class TeacherNetwork(nn.Module):
    """A frozen, folded copy of a detector; not part of what is trained or stored in checkpoints."""

    def __init__(self, detector: Detector, *, predictions: bool = True, features: bool = False) -> None:
        """`predictions`: teach scores and boxes; `features`: teach those of the neck, to the same architecture."""
        super().__init__()
        self._folded, self._predictions, self._features = fuse(detector), predictions, features

    @torch.no_grad()
    def forward(self, images: Tensor) -> HeadOutput:
        output: HeadOutput = self._folded(images)
        return output

    @torch.no_grad()
    def soft_targets(self, output: HeadOutput, size: int, weight: float) -> SoftTargets:
        """In float32, whatever the network computed in; `size` is the side of the square input in pixels."""
        logits, distances = output.class_logits.float(), output.distances.float()
        points, strides = self._folded.anchors(size, size)
        left_top, right_bottom = self._folded.expected_distances(distances).split(2, -1)
        centres = points.float() / strides.float()
        boxes = torch.cat((centres - left_top, centres + right_bottom), -1)
        features = tuple(each.float() for each in output.features) if self._features else ()
        reg_max = self._folded.model.reg_max
        return SoftTargets(logits, distances, boxes, reg_max, weight, features, self._predictions)


def soft_weight(step: int, steps: int) -> float:
    """Weight of the soft targets at a step: a cosine from 1 to `FINAL_SOFT_SHARE`."""
    return FINAL_SOFT_SHARE + (1 - FINAL_SOFT_SHARE) * 0.5 * (1 + math.cos(math.pi * step / steps))


def class_divergence(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student) of each score as a Bernoulli distribution; any shape, not reduced."""
    soft = teacher_logits.sigmoid()
    cross = binary_cross_entropy_with_logits(logits, soft, reduction="none")
    entropy = -(soft * logsigmoid(teacher_logits) + (1 - soft) * logsigmoid(-teacher_logits))
    return cross - entropy


def bin_divergence(bins: Tensor, teacher_bins: Tensor) -> Tensor:
    """KL(teacher || student) P of the distributions over bins P,4,bins (logits), mean over the sides."""
    log_student, log_teacher = bins.log_softmax(-1), teacher_bins.log_softmax(-1)
    return kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1).mean(-1)
