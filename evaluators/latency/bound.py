"""An optimistic bound of a latency from FLOPs, to skip what is hopeless without building it.

Always an `Estimate`. It says what a network would take at the best throughput seen on this device in this
precision; networks with kinder shapes than all measured ones can be faster still, hence the safety factor.
"""

from collections.abc import Iterable

from evaluators.latency.records import Estimate

SAFETY = 2.0
MIN_PAIRS = 3


def lower_bound_ms(
    flops: float, measured: Iterable[tuple[float, float]], *, safety: float = SAFETY
) -> Estimate | None:
    """Bounds of the latency of a network of so many FLOPs; compare `low_ms` with the limit.

    Args:
        flops: of one pass, counted as for `measured`.
        measured: (FLOPs, milliseconds) of networks measured on the same device, in the same precision,
            image size and batch.
        safety: `low_ms` is the time at the best throughput over this; at least 1.

    Returns:
        `value_ms` at the best throughput, `low_ms` below it by the safety factor, `high_ms` at the worst
        throughput; None with fewer than three measurements.
    """
    pace = sorted(ms / work for work, ms in measured if work > 0)  # milliseconds per FLOP
    if len(pace) < MIN_PAIRS:
        return None
    return Estimate(
        value_ms=flops * pace[0],
        low_ms=flops * pace[0] / safety,
        high_ms=flops * pace[-1],
        source=f"estimated from FLOPs and {len(pace)} measurements",
    )
