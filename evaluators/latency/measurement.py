"""Measuring: warm up until it is steady, then sample until the median is known well enough."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from evaluators.artefact import Artefact, noise_images
from evaluators.device_lock import measuring
from evaluators.environment import environment
from evaluators.hardware import Hardware
from evaluators.latency.engine import open_engine
from evaluators.latency.foreign_load import ForeignLoad
from evaluators.latency.records import Measurement, Workload, joined
from evaluators.latency.statistics import MIN_SAMPLES, relative_half_width
from evaluators.latency.steadiness import sign_of_disturbance, warm_up_length
from evaluators.tensorrt.nvml import throttling

WITHIN = 0.01  # relative half-width of the interval of the median at which sampling stops
DEFAULT_SECONDS = 3.0
MIN_SECONDS = 0.5  # sample at least so long: a shorter run can fall between two disturbances
STEADY = 0.02  # warm-up ends when a block of passes is not faster than the one before by more than this
WARMUP_BLOCK_SECONDS = 0.05
WARMUP_SHARE = 0.5  # of the time for sampling, at most
_INPUT_SEED = 0

Clock = Callable[[], float]


def measure(
    artefact: Artefact,
    hardware: Hardware,
    *,
    threads: int | None = None,
    seconds: float = DEFAULT_SECONDS,
    within: float = WITHIN,
    engines: int = 1,
) -> Measurement:
    """Latency of an artefact: the time of one pass with its input in place, decoding included, NMS not.

    Waits until nobody else measures on the device and our own work on it pauses.

    Args:
        threads: of the engine; None means one per physical core.
        seconds: sample every engine at most so long (a little longer where six passes take longer).
        within: relative half-width of the interval of a run's median at which sampling ends before that.
        engines: open so many, one after the other. One opening differs from the next by up to several
            percent, which no number of passes through a single one can show.

    Raises:
        UserError: the device cannot run the artefact.
        WorkFailedError: the engine could not be compiled.
    """
    return joined([_one_engine(artefact, hardware, threads, seconds, within) for _ in range(engines)])


def warm_up(
    run: Callable[[], None], *, at_most_seconds: float, clock: Clock = time.perf_counter
) -> list[float]:
    """Run blocks of passes until a block is no faster than the one before; returns their milliseconds."""
    passes: list[float] = []
    deadline = clock() + at_most_seconds
    previous = float("inf")
    while True:
        times: list[float] = []
        block_end = clock() + WARMUP_BLOCK_SECONDS
        while len(times) < 2 or clock() < block_end:
            start = clock()
            run()
            times.append((clock() - start) * 1e3)
        passes += times
        median = float(np.median(times))
        if median > previous * (1 - STEADY) or clock() >= deadline:
            return passes
        previous = median


def sample(
    run: Callable[[], None], *, seconds: float, within: float = WITHIN, clock: Clock = time.perf_counter
) -> list[float]:
    """Milliseconds of single passes, until the median is known to `within` or the time is over.

    It has to be known so well twice, the second time with a fifth more samples: looking again and again would
    else stop where the interval is narrow by chance, and such an interval misses too often.
    """
    samples: list[float] = []
    start = clock()
    narrow = False
    check_at = MIN_SAMPLES
    while True:
        begin = clock()
        run()
        end = clock()
        samples.append((end - begin) * 1e3)
        if len(samples) < check_at:
            continue
        elapsed = end - start
        was_narrow, narrow = narrow, relative_half_width(samples) <= within
        if elapsed >= seconds or (elapsed >= MIN_SECONDS and narrow and was_narrow):
            return samples
        # Judging costs about a millisecond and must not become a part of the rhythm.
        check_at = len(samples) + max(1, len(samples) // 5)


def _one_engine(
    artefact: Artefact, hardware: Hardware, threads: int | None, seconds: float, within: float
) -> Measurement:
    """Open an engine, time it, close it."""
    meta = artefact.meta
    with open_engine(artefact, hardware, threads) as engine, measuring(hardware.device):
        recorded = {**environment(), **engine.environment}
        engine.load(noise_images(meta.batch, meta.image_size, _INPUT_SEED))
        with _no_garbage_collection():
            warm = warm_up(engine.run, at_most_seconds=WARMUP_SHARE * seconds, clock=engine.clock)
            foreign, before = ForeignLoad(recorded["threads"]), engine.state()
            samples = sample(engine.run, seconds=seconds, within=within, clock=engine.clock)
            signs = [foreign.disturbance(), throttling(before, engine.state())]
        recorded["device_state"] = dict(engine.state())
    cut = warm_up_length(samples)  # what the blocks before did not see
    warm, samples = warm + samples[:cut], samples[cut:]
    reasons = [reason for reason in (*signs, sign_of_disturbance(samples)) if reason]
    return Measurement(
        samples_ms=tuple(samples),
        workload=Workload(
            image_size=meta.image_size,
            batch=meta.batch,
            precision=meta.precision,
            device=hardware.device,
            backend=hardware.backend,
        ),
        environment=recorded,
        artefact_hash=artefact.hash,
        warmup_ms=tuple(warm),
        engine_samples=(len(samples),),
        disturbance="; ".join(reasons) or None,
    )


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
