"""What a network detects, and what that is worth: COCO AP through any engine."""

from evaluators.accuracy.coco import evaluate
from evaluators.accuracy.detect import Engine, detect, detect_images
from evaluators.accuracy.detections import ImageDetections
from evaluators.accuracy.figures import FIGURES, CocoFigures
from evaluators.accuracy.interval import ApInterval
from evaluators.accuracy.judge import Accuracy, judge
from evaluators.accuracy.protocol import PAPER, PLAIN, PROTOCOLS, RECTANGULAR, Protocol
from evaluators.accuracy.torch_engine import TorchEngine
from evaluators.accuracy.truth import ground_truth_of

__all__ = [
    "FIGURES",
    "PAPER",
    "PLAIN",
    "PROTOCOLS",
    "RECTANGULAR",
    "Accuracy",
    "ApInterval",
    "CocoFigures",
    "Engine",
    "ImageDetections",
    "Protocol",
    "TorchEngine",
    "detect",
    "detect_images",
    "evaluate",
    "ground_truth_of",
    "judge",
]
