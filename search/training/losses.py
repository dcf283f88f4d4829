"""The loss of a batch: assignment, classification, box regression and DFL (paper 2.4, release 0.2.0).

Shape legend: B batch, A anchor points, C classes, M ground truths of the batch, P positive anchor points.
Everything here is float32, whatever the network computed in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from search.training.assigners import ASSIGNERS, Anchors, Assigner, GroundTruth, Predictions
from search.training.box_losses import BOX_LOSSES
from search.training.class_losses import CLASS_LOSSES
from search.training.distill import SoftTargets, bin_divergence, class_divergence
from search.training.feature_distill import FEATURE_WEIGHT, feature_divergence
from search.training.ranks import ALONE, Ranks
from yolov6space.candidate import Recipe
from yolov6space.networks import Detector, HeadOutput

CLASS_WEIGHT, BOX_WEIGHT, DFL_WEIGHT = 1.0, 2.5, 0.5  # release 0.2.0
MIN_TAUGHT_SIDE = 0.1  # strides


@dataclass(frozen=True, slots=True)
class Loss:
    """Weighted terms, scalars with gradient; `total` is what is minimised."""

    classification: Tensor
    box: Tensor
    dfl: Tensor
    distillation: Tensor | None = None
    features: Tensor | None = None

    @property
    def total(self) -> Tensor:
        total = self.classification + self.box + self.dfl
        for taught in (self.distillation, self.features):
            total = total if taught is None else total + taught
        return total

    def parts(self) -> dict[str, float]:
        """The terms as numbers, for people."""
        terms = {
            "class": self.classification,
            "box": self.box,
            "dfl": self.dfl,
            "distillation": self.distillation,
            "features": self.features,
        }
        return {name: term.item() for name, term in terms.items() if term is not None}


class DetectionLoss:
    """The loss a recipe asks for, for one network and one input size.

    Every term is divided by the sum of the target scores of the batch, taken as at least 1. The batch is that of all
    ranks, so their losses add up to its loss; all but what features teach, which only one rank learns (QAT).
    """

    def __init__(self, detector: Detector, recipe: Recipe, image_size: int, ranks: Ranks = ALONE) -> None:
        points, strides = detector.anchors(image_size, image_size)
        self._anchors = Anchors(points.float(), strides.float().squeeze(1))
        self._detector = detector
        self._ranks = ranks
        self._reg_max = detector.model.reg_max
        self._class_loss = CLASS_LOSSES[recipe.class_loss]
        self._box_loss = BOX_LOSSES[recipe.box_loss]
        self._assigner = ASSIGNERS[recipe.assigner]

    def __call__(
        self,
        output: HeadOutput,
        truth: GroundTruth,
        assigner: Assigner | None = None,
        soft: SoftTargets | None = None,
    ) -> Loss:
        """`assigner` replaces the recipe's (warm-up); `soft` adds what a teacher says of the same images."""
        logits, distances = output.class_logits.float(), output.distances.float()
        # Distances in stride units; boxes in stride units stay about 1 in size, so epsilons fit.
        expected = self._detector.expected_distances(distances)
        centres = self._anchors.points / self._anchors.strides[:, None]
        left_top, right_bottom = expected.split(2, -1)
        boxes = torch.cat((centres - left_top, centres + right_bottom), -1)
        with torch.no_grad():
            pixels = boxes.detach() * self._anchors.strides[:, None]
            assign = assigner or self._assigner
            assignment = assign(Predictions(logits.detach(), pixels), self._anchors, truth)
            image, anchor = assignment.place // len(centres), assignment.place % len(centres)
            targets = torch.zeros_like(logits)
            targets[image, anchor, truth.labels[assignment.truth]] = assignment.score
            normaliser = self._ranks.total(assignment.score.sum()).clamp(min=1)
        classification = self._class_loss(logits, targets).sum() / normaliser

        goal = truth.boxes[assignment.truth] / self._anchors.strides[anchor, None]
        found = boxes[image, anchor]
        box = (self._box_loss(found, goal) * assignment.score).sum() / normaliser
        dfl = box.new_zeros(())
        if self._reg_max:
            sides = torch.cat((centres[anchor] - goal[:, :2], goal[:, 2:] - centres[anchor]), 1)
            bins = distances[image, anchor].reshape(-1, 4, self._reg_max + 1)
            dfl = (distribution_focal_loss(bins, sides) * assignment.score).sum() / normaliser
        distillation = features = None
        if soft is not None and soft.predictions:
            divergence = class_divergence(logits, soft.class_logits).sum() / normaliser
            if self._reg_max and self._reg_max == soft.reg_max:
                taught = soft.distances[image, anchor].reshape(bins.shape)
                apart, weight = bin_divergence(bins, taught), DFL_WEIGHT
            else:
                apart, weight = self._box_loss(found, _proper(soft.boxes[image, anchor])), BOX_WEIGHT
            apart = (apart * assignment.score).sum() / normaliser
            distillation = soft.weight * (CLASS_WEIGHT * divergence + weight * apart)
        if soft is not None and soft.features:
            features = soft.weight * FEATURE_WEIGHT * feature_divergence(output.features, soft.features)
        return Loss(CLASS_WEIGHT * classification, BOX_WEIGHT * box, DFL_WEIGHT * dfl, distillation, features)


def _proper(boxes: Tensor) -> Tensor:
    """Boxes of positive area: a teacher's may be inside out, which no box loss takes for a truth."""
    left_top, right_bottom = boxes.split(2, -1)
    return torch.cat((left_top, torch.maximum(right_bottom, left_top + MIN_TAUGHT_SIDE)), -1)


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """DFL P (arXiv 2006.04388), mean over the sides: cross-entropy with the two bins around the distance.

    Logits are P,4,bins; distances P,4 are in bins and clipped to what the bins can express.
    """
    bins = logits.shape[-1]
    wanted = distances.clamp(0, bins - 1 - 0.01)
    lower = wanted.floor()
    share = (wanted - lower).flatten()
    logits, index = logits.reshape(-1, bins), lower.long().flatten()
    below = cross_entropy(logits, index, reduction="none") * (1 - share)
    above = cross_entropy(logits, index + 1, reduction="none") * share
    return (below + above).reshape(-1, 4).mean(1)
