"""Latencies nobody measured: physical models over the cost table, calibrated, always with an interval."""

from evaluators.estimate.case import Case
from evaluators.estimate.fit import Calibration, Observation, fit
from evaluators.estimate.t4 import estimate_t4, t4_calibration

__all__ = ["Calibration", "Case", "Observation", "estimate_t4", "fit", "t4_calibration"]
