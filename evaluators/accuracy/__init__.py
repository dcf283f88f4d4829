"""What a network detects, and what that is worth: COCO AP through any engine."""

from evaluators.accuracy.coco import evaluate
from evaluators.accuracy.detect import Engine, detect
from evaluators.accuracy.figures import FIGURES, CocoFigures
from evaluators.accuracy.judge import Accuracy, judge
from evaluators.accuracy.protocol import PAPER, Protocol
from evaluators.accuracy.torch_engine import TorchEngine
from evaluators.accuracy.truth import ground_truth_of

__all__ = [
    "FIGURES",
    "PAPER",
    "Accuracy",
    "CocoFigures",
    "Engine",
    "Protocol",
    "TorchEngine",
    "detect",
    "evaluate",
    "ground_truth_of",
    "judge",
]
