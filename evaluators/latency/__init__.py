"""Latency on a real device: `measure` an artefact, with raw samples, an interval and the environment."""

from evaluators.environment import environment
from evaluators.hardware import Hardware, resolve_hardware
from evaluators.latency.engine import Engine, open_engine
from evaluators.latency.measurement import measure
from evaluators.latency.records import Estimate, Measurement, Workload, joined
from evaluators.latency.sampling import Sampling

__all__ = [
    "Engine",
    "Estimate",
    "Hardware",
    "Measurement",
    "Sampling",
    "Workload",
    "environment",
    "joined",
    "measure",
    "open_engine",
    "resolve_hardware",
]
