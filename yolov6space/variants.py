"""The official variants and the ablation networks of the paper, as named candidates.

A variant is a width multiple, a depth multiple and a few choices; `scaled_model` turns them into a spec.
Configurations: release 0.2.0 (official variants), release 0.2.1 (`*-base`), and for the ablation rows the
multiples that reproduce the printed parameters and FLOPs, since the paper does not print the multiples.
"""

import difflib
import re
from functools import cache

from foundation.errors import UserError
from yolov6space import scaling
from yolov6space.candidate import Candidate, ModelSpec, Precision, Recipe

HALF = "1/2"
TWO_THIRDS = "2/3"
_FP16 = Precision(kind="fp16")  # every speed of the paper's tables 1 to 4 is fp16


def scaled_model(
    *,
    width: float,
    depth: float,
    csp: str | None = None,
    conv: str = "repvgg",
    activation: str = "relu",
    dfl: bool | None = None,
    neck_width: float | None = None,
    neck_depth: float | None = None,
) -> ModelSpec:
    """The network of the given multiples, by the rules of release 0.2.0.

    Args:
        csp: channel coefficient of CSPStackRep in every stage ("2/3"); None means RepBlock in every stage.
        dfl: whether the head predicts 17 bins per distance; by default where the official variants do,
            in CSPStackRep networks.
        neck_width: width multiple of the neck if it differs from `width`; the head keeps `width`.
        neck_depth: depth multiple of the neck if it differs from `depth`.
    """
    block = "rep" if csp is None else "csp_rep"
    backbone = (
        scaling.scaled_stage(block, channels, repeats, width, depth, csp)
        for channels, repeats in zip(scaling.BACKBONE_CHANNELS, scaling.BACKBONE_REPEATS, strict=True)
    )
    wide = width if neck_width is None else neck_width
    deep = depth if neck_depth is None else neck_depth
    neck = (
        scaling.scaled_stage(block, channels, repeats, wide, deep, csp)
        for channels, repeats in zip(scaling.NECK_CHANNELS, scaling.NECK_REPEATS, strict=True)
    )
    head = (scaling.scale_channels(channels, width) for channels in scaling.HEAD_CHANNELS)
    b2, b3, b4, b5 = backbone
    p4, p3, n3, n4 = neck
    h3, h4, h5 = head
    return ModelSpec(
        stem_channels=scaling.scale_channels(scaling.STEM_CHANNELS, width),
        backbone=(b2, b3, b4, b5),
        neck=(p4, p3, n3, n4),
        head_channels=(h3, h4, h5),
        conv=conv,
        activation=activation,
        reg_max=16 if (csp is not None if dfl is None else dfl) else 0,
    )


def _candidate(model: ModelSpec, box_loss: str = "giou", distillation: str = "none") -> Candidate:
    return Candidate(
        model=model, recipe=Recipe(box_loss=box_loss, distillation=distillation), precision=_FP16
    )


@cache
def _official() -> dict[str, Candidate]:
    n = scaled_model(width=0.25, depth=0.33)
    t = scaled_model(width=0.375, depth=0.33)
    s = scaled_model(width=0.5, depth=0.33)
    m = scaled_model(width=0.75, depth=0.6, csp=TWO_THIRDS)
    l_relu = scaled_model(width=1.0, depth=1.0, csp=HALF)
    l_silu = scaled_model(width=1.0, depth=1.0, csp=HALF, conv="plain", activation="silu")
    return {
        "YOLOv6-N": _candidate(n, "siou"),
        "YOLOv6-T": _candidate(t, "siou"),
        "YOLOv6-S": _candidate(s),
        "YOLOv6-M": _candidate(m, distillation="self"),
        "YOLOv6-L-ReLU": _candidate(l_relu, distillation="self"),
        "YOLOv6-L": _candidate(l_silu, distillation="self"),
    }


@cache
def _ablations() -> dict[str, Candidate]:
    rows = {
        # Table 2, block style. The depth differs between the compared blocks: the paper matched speed. The N
        # and S rows were timed without DFL (their speed is that of Table 10's row without it).
        "table2-N-RepBlock": scaled_model(width=0.25, depth=0.33),
        "table2-N-CSPStackRep-1/2": scaled_model(width=0.25, depth=0.5, csp=HALF, dfl=False),
        "table2-S-RepBlock": scaled_model(width=0.5, depth=0.33),
        "table2-M-RepBlock": scaled_model(width=0.75, depth=0.65),
        "table2-M-CSPStackRep-2/3": scaled_model(width=0.75, depth=0.6, csp=TWO_THIRDS),
        "table2-L-CSPStackRep-1/2": scaled_model(width=1.0, depth=1.0, csp=HALF),
        # Table 3, neck width and depth of L (SiLU). Depth 5 of the wide row is a base repeat of 5 instead of
        # 12, so two sub-blocks. The reading that gives 58.56 M and 144.70 G: neck outputs are 192, 384, 768
        # wide and the 1x1 stem of each head level maps them to its 128, 256, 512 channels.
        "table3-L-neck-128-depth-12": scaled_model(
            width=1.0, depth=1.0, csp=HALF, conv="plain", activation="silu"
        ),
        "table3-L-neck-192-depth-5": scaled_model(
            width=1.0, depth=1.0, csp=HALF, conv="plain", activation="silu", neck_width=1.5, neck_depth=5 / 12
        ),
    }
    for conv, conv_name in (("plain", "Conv"), ("repvgg", "RepConv")):
        for activation, activation_name in (("silu", "SiLU"), ("relu", "ReLU"), ("lrelu", "LReLU")):
            suffix = f"{conv_name}-{activation_name}"
            rows[f"table4-N-{suffix}"] = scaled_model(
                width=0.25, depth=0.33, conv=conv, activation=activation
            )
            rows[f"table4-M-{suffix}"] = scaled_model(
                width=0.75, depth=0.6, csp=TWO_THIRDS, conv=conv, activation=activation
            )
    return {name: _candidate(model) for name, model in sorted(rows.items())}


@cache
def _later() -> dict[str, Candidate]:
    """Release 0.2.1: plain convolution + ReLU throughout, later than the paper."""
    n = scaled_model(width=0.25, depth=0.33, conv="plain")
    s = scaled_model(width=0.5, depth=0.7, csp=HALF, conv="plain", dfl=False)
    m = scaled_model(width=0.75, depth=0.8, csp=HALF, conv="plain")
    large = scaled_model(width=1.0, depth=1.0, csp=HALF, conv="plain")
    return {
        "YOLOv6-N-base": _candidate(n),
        "YOLOv6-S-base": _candidate(s),
        "YOLOv6-M-base": _candidate(m, distillation="self"),
        "YOLOv6-L-base": _candidate(large, distillation="self"),
    }


def official() -> dict[str, Candidate]:
    """N, T, S, M, L-ReLU and L of release 0.2.0 with their published recipe; smallest first, fp16."""
    return dict(_official())


def ablations() -> dict[str, Candidate]:
    """Rows of tables 2, 3 and 4 whose configuration is known, and the plain-convolution variants of 0.2.1.

    The second row of YOLOv6-L in Table 2 (coefficient 2/3) is absent: no multiples reproduce its size.
    """
    return {**_ablations(), **_later()}


def named() -> dict[str, Candidate]:
    """Every named candidate: the official variants, then the ablations."""
    return {**_official(), **ablations()}


def canonical_name(name: str) -> str:
    """The full name of a variant given in any case, with or without `YOLOv6-`. Raises UserError."""
    known = {full.lower(): full for full in named()}
    wanted = name.strip().lower()
    for spelling in (wanted, f"yolov6-{wanted}", wanted.replace("yolov6", "yolov6-", 1)):
        if spelling in known:
            return known[spelling]
    # compared without the common prefix, which would make any letter behind it look like a near miss
    short = {name.removeprefix("yolov6-"): full for name, full in known.items()}
    near = difflib.get_close_matches(re.sub("^yolov6-?", "", wanted), short, n=1)
    hint = f" (did you mean {short[near[0]]}?)" if near else ""
    raise UserError(
        f"no variant is called {name!r}{hint}; official ones are {', '.join(_official())}, "
        "and `python -m yolov6space list` shows all"
    )


def get(name: str) -> Candidate:
    """The candidate called `name` (any case; `N` and `yolov6n` mean YOLOv6-N). Raises UserError."""
    return named()[canonical_name(name)]
