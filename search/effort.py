"""How much more than a plain training some trainings take, before anything was timed. Knows no torch."""

from search.options import QAT_EPOCHS
from yolov6space.candidate import Candidate, ModelSpec

# Of the epochs, on top of them; the paper searches on other data and leaves the length open.
SCALES_SHARE = 0.1
TEACHER_SHARE = 1 / 3  # a forward pass, which is a teacher's part, is a third of a training step

QAT_SHARE = 0.1  # of the epochs of the float training before it


def scale_search_epochs(epochs: int) -> int:
    """Epochs of the search for scales before a training of that many (RepOptimizer)."""
    return max(1, round(SCALES_SHARE * epochs))


def has_scale_search(model: ModelSpec) -> bool:
    """Whether a training of this network is preceded by a search for its scales."""
    return model.conv == "repopt"


def all_epochs(model: ModelSpec, epochs: int) -> int:
    """Passes over the data that a training of so many epochs takes in all."""
    return epochs + (scale_search_epochs(epochs) if has_scale_search(model) else 0)


def epochs_share(model: ModelSpec) -> float:
    """How many passes over the data an epoch of a long training costs."""
    return 1.0 + (SCALES_SHARE if has_scale_search(model) else 0.0)


def teaching_cost(candidate: Candidate) -> float:
    """How many times a plain step's time a step of this candidate takes when it has its own like for a teacher."""
    return 1.0 + TEACHER_SHARE if candidate.recipe.distillation == "self" else 1.0


def qat_epochs(candidate: Candidate, epochs: int) -> int:
    """Epochs of QAT after a float training of so many; 0 for a candidate that asks for none."""
    if candidate.precision.scheme != "qat":
        return 0
    return max(1, min(QAT_EPOCHS, round(QAT_SHARE * epochs)))
