"""Classification losses: logits (...) and target scores (...) in 0..1 to losses (...), not reduced.

A target above zero marks the positive class of an anchor point; the score is its quality (TAL's normalised
alignment, or the IoU). Focal and poly take it as the hard label 1. Adding a loss: one function and one key.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

ClassLoss = Callable[[Tensor, Tensor], Tensor]

VFL_ALPHA, VFL_GAMMA = 0.75, 2.0  # release 0.2.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0  # arXiv 1708.02002
QFL_BETA = 2.0  # arXiv 2006.04388
POLY_EPSILON = 1.0  # arXiv 2204.12511, Poly-1


def vfl(logits: Tensor, targets: Tensor) -> Tensor:
    """Varifocal loss (arXiv 2008.13367): positives weighted by their score, negatives by focal weight."""
    weight = VFL_ALPHA * logits.sigmoid().pow(VFL_GAMMA)
    return cross_entropy(logits, targets, reduction="none") * weight.where(targets == 0, targets)


def qfl(logits: Tensor, targets: Tensor) -> Tensor:
    """Quality focal loss (arXiv 2006.04388)."""
    weight = (targets - logits.sigmoid()).abs().pow(QFL_BETA)
    return cross_entropy(logits, targets, reduction="none") * weight


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss on hard labels (arXiv 1708.02002)."""
    loss, _, _ = _focal(logits, targets)
    return loss


def poly(logits: Tensor, targets: Tensor) -> Tensor:
    """Poly-1 focal loss on hard labels (arXiv 2204.12511): focal plus epsilon (1 - p_t)^(gamma + 1)."""
    loss, miss, alpha = _focal(logits, targets)
    return loss + alpha * POLY_EPSILON * miss.pow(FOCAL_GAMMA + 1)


def _focal(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Focal loss, 1 - p_t and alpha_t."""
    labels = (targets > 0).to(logits.dtype)
    scores = logits.sigmoid()
    miss = scores + labels - 2 * scores * labels
    alpha = FOCAL_ALPHA * labels + (1 - FOCAL_ALPHA) * (1 - labels)
    return alpha * miss.pow(FOCAL_GAMMA) * cross_entropy(logits, labels, reduction="none"), miss, alpha


CLASS_LOSSES: dict[str, ClassLoss] = {"vfl": vfl, "qfl": qfl, "focal": focal, "poly": poly}
