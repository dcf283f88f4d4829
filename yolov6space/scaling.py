"""The scaling rules of release 0.2.0: base widths and repeats, and how multiples turn them into stages."""

import math
from fractions import Fraction
from functools import lru_cache

from yolov6space.candidate import CHANNEL_MULTIPLE, StageSpec

# Width multiple 1 and depth multiple 1 of every official configuration (release 0.2.0).
STEM_CHANNELS = 64
BACKBONE_CHANNELS = (128, 256, 512, 1024)
BACKBONE_REPEATS = (6, 12, 18, 6)
NECK_CHANNELS = (256, 128, 256, 512)  # in the order of ModelSpec.neck
NECK_REPEATS = (12, 12, 12, 12)
HEAD_CHANNELS = (128, 256, 512)


@lru_cache(maxsize=4096)
def scale_channels(base: int, multiple: float) -> int:
    """`base` x `multiple`, rounded up to a multiple of 8; at least 8."""
    # The guard keeps products such as 128 * 1.1 / 8 from being lifted a step by binary rounding.
    return max(math.ceil(base * multiple / CHANNEL_MULTIPLE - 1e-9), 1) * CHANNEL_MULTIPLE


@lru_cache(maxsize=4096)
def scale_repeats(block: str, base: int, multiple: float) -> int:
    """`base` x `multiple`, rounded half to even, at least 1; for `csp_rep` half as many, at least 1."""
    units = max(round(base * multiple), 1)
    return max(units // 2, 1) if block == "csp_rep" else units


@lru_cache(maxsize=4096)
def hidden_channels(channels: int, coefficient: str) -> int:
    """Width inside CSPStackRep: `channels` x `coefficient` ("2/3"), rounded down as in the release."""
    return max(int(channels * Fraction(coefficient)), 1)


@lru_cache(maxsize=65536)
def scaled_stage(
    block: str,
    base_channels: int,
    base_repeats: int,
    width: float,
    depth: float,
    coefficient: str | None,
) -> StageSpec:
    """One stage of a scaled network.

    Stages are immutable and few, so equal ones are shared: sampling is several times faster for it.

    Args:
        coefficient: channel coefficient of a `csp_rep` stage, such as "1/2"; None for `rep`.
    """
    channels = scale_channels(base_channels, width)
    return StageSpec(
        block=block,
        channels=channels,
        repeats=scale_repeats(block, base_repeats, depth),
        hidden_channels=None if coefficient is None else hidden_channels(channels, coefficient),
    )
