"""Measuring an artefact: open engines, time them, and say what speaks against the figure."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from evaluators.artefact import Artefact, noise_images
from evaluators.device_lock import measuring
from evaluators.environment import environment
from evaluators.hardware import Hardware
from evaluators.latency.engine import open_engine
from evaluators.latency.foreign_load import ForeignLoad
from evaluators.latency.pace import Pace, processor_pace
from evaluators.latency.records import Measurement, Workload, joined
from evaluators.latency.sampling import Sampling, sample, warm_up
from evaluators.latency.steadiness import sign_of_disturbance, warm_up_length
from evaluators.tensorrt.nvml import throttling

WARMUP_SHARE = 0.5  # of the time for sampling, at most
_INPUT_SEED = 0


def measure(
    artefact: Artefact,
    hardware: Hardware,
    *,
    threads: int | None = None,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    engines: int = 1,
    device_is_ours: bool = False,
) -> Measurement:
    """Latency of an artefact: the time of one pass with its input in place, decoding included, NMS not.

    Waits until nobody else measures on the device and our own work on it pauses.

    Args:
        threads: of the engine; None means one per physical core.
        sampling: how long, every engine.
        engines: open so many, one after the other. One opening differs from the next by up to several
            percent, which no number of passes through a single one can show.
        device_is_ours: the caller holds the device with `measuring` already.

    Raises:
        UserError: the device cannot run the artefact.
        WorkFailedError: the engine could not be compiled.
    """

    def turn() -> AbstractContextManager[None]:
        return nullcontext() if device_is_ours else measuring(hardware.device)

    return joined([_one_engine(artefact, hardware, threads, sampling, turn) for _ in range(engines)])


def _one_engine(
    artefact: Artefact,
    hardware: Hardware,
    threads: int | None,
    sampling: Sampling,
    turn: Callable[[], AbstractContextManager[None]],
) -> Measurement:
    """Open an engine, time it when it is our turn, close it."""
    meta = artefact.meta
    with open_engine(artefact, hardware, threads) as engine, turn():
        recorded = {**environment(), **engine.environment}
        engine.load(noise_images(meta.batch, meta.image_size, _INPUT_SEED))
        with _no_garbage_collection():
            warm = warm_up(engine.run, at_most_seconds=WARMUP_SHARE * sampling.seconds, clock=engine.clock)
            foreign, before = ForeignLoad(recorded["threads"]), engine.state()
            with _pace(hardware, recorded["threads"]) as pace:
                sampled = sample(engine.run, sampling, clock=engine.clock, processor=pace)
            signs = [foreign.disturbance(), throttling(before, engine.state())]
        if pace is not None and sampled.slow:
            signs.append(f"the processor was {pace.slowdown - 1:.0%} slower than at its best")
        recorded["device_state"] = dict(engine.state())
    samples = sampled.samples_ms
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
        left_out=sampled.left_out,
        disturbance="; ".join(reasons) or None,
    )


def _pace(hardware: Hardware, threads: int) -> AbstractContextManager[Pace | None]:
    """Of the processor, where the processor is what is measured."""
    return processor_pace(threads) if hardware.device == "cpu" else nullcontext()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
