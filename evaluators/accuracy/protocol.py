"""How detections are made from an image and a network's output; part of every accuracy result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from foundation.errors import UserError

LOAD_SIZE_OF = 640  # the input side that `load_size` speaks of


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Rules from image to detections; the defaults are YOLOv6's evaluation at a fixed input size.

    Attributes:
        conf_threshold: a class score must exceed it.
        nms_iou: of two boxes of one class that overlap more, the lower score goes.
        max_detections: kept per image, highest scores first.
        max_candidates: boxes that enter NMS per image, highest scores first.
        multi_label: one anchor may give several classes; else its best class alone.
        fill: grey of the border.
        load_size: the image's longer side for an input of 640 pixels, in proportion for other inputs. Less
            than 640 leaves a grey border on all sides.
        rectangular: each batch gets the smallest input that holds its images, multiples of the largest
            stride, instead of a square; only for networks that take any size.
        extra_border: strides added to each side of a rectangular input; half a stride is 16 pixels.
        whole_border: boxes are taken back by the border as drawn, in whole pixels; else by its exact half.
        exact_scale: boxes are taken back by the scale of each axis; else by the vertical one alone.
    """

    conf_threshold: float = 0.03
    nms_iou: float = 0.65
    max_detections: int = 300
    max_candidates: int = 30_000
    multi_label: bool = True
    fill: int = 114
    load_size: int = 634
    rectangular: bool = False
    extra_border: float = 0.0
    whole_border: bool = True
    exact_scale: bool = True

    def __post_init__(self) -> None:
        allowed = {
            "conf_threshold": 0 <= self.conf_threshold < 1,
            "nms_iou": 0 < self.nms_iou <= 1,
            "max_detections": self.max_detections >= 1,
            "max_candidates": self.max_candidates >= 1,
            "fill": 0 <= self.fill <= 255,
            "load_size": 1 <= self.load_size <= LOAD_SIZE_OF,
            "extra_border": 0 <= self.extra_border <= 8 and (self.rectangular or not self.extra_border),
        }
        wrong = [name for name, fine in allowed.items() if not fine]
        if wrong:
            raise ValueError(f"{wrong[0]} cannot be {getattr(self, wrong[0])!r}")

    def load_pixels(self, image_size: int) -> int:
        """The longer side of an image before the border, for an input of `image_size`."""
        return max(1, round(self.load_size * image_size / LOAD_SIZE_OF))

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


# YOLOv6 release 0.2: tools/eval.py, yolov6/utils/nms.py and configs/experiment/eval_640_repro.py.
PAPER = Protocol()
# Load sizes with which the release gives the published AP of each variant at 640.
LOAD_SIZES = {"N": 638, "T": 634, "S": 638, "M": 628, "L": 632, "L-ReLU": 638}
# What the release does when nothing else is asked for: rectangles with a border of 16 pixels.
RECTANGULAR = Protocol(
    load_size=LOAD_SIZE_OF, rectangular=True, extra_border=0.5, whole_border=False, exact_scale=False
)
# The image fills the input. Without a border the protocol suits any image and input size.
PLAIN = Protocol(load_size=LOAD_SIZE_OF)

PROTOCOLS: Mapping[str, Protocol] = {
    "paper": PAPER,
    **{f"paper-{name}": Protocol(load_size=size) for name, size in LOAD_SIZES.items()},
    "rectangular": RECTANGULAR,
    "plain": PLAIN,
    "single-label": replace(PLAIN, multi_label=False),
}


def protocol_named(text: str) -> Protocol:
    """A protocol by its name, or by a JSON object of settings that differ from `paper`.

    Raises:
        UserError: no such name or setting, or a value that cannot be.
    """
    if text in PROTOCOLS:
        return PROTOCOLS[text]
    if not text.lstrip().startswith("{"):
        names = ", ".join(PROTOCOLS)
        raise UserError(f"protocol {text!r} is unknown; choose {names}, or give a JSON object of settings")
    import json

    try:
        return changed(PAPER, json.loads(text))
    except json.JSONDecodeError as error:
        raise UserError(f"protocol: not valid JSON at column {error.colno} ({error.msg})") from error


def stored_protocol(record: Mapping[str, Any]) -> Protocol:
    """The protocol of a stored result, whose record holds other things too.

    Results from before borders were a setting had none.
    """
    names = {field.name for field in fields(Protocol)}
    return changed(PLAIN, {name: value for name, value in record.items() if name in names})


def changed(base: Protocol, settings: Mapping[str, Any]) -> Protocol:
    """`base` with other settings. Raises UserError for an unknown one, or a value that cannot be."""
    known = {field.name: type(getattr(base, field.name)) for field in fields(Protocol)}
    for name, value in settings.items():
        if name not in known:
            raise UserError(f"protocol: unknown setting {name!r}; known are {', '.join(known)}")
        fits = type(value) is known[name] or (known[name] is float and type(value) is int)
        if not fits:
            raise UserError(f"protocol: {name} must be a {known[name].__name__}, not {value!r}")
    try:
        return replace(base, **settings)
    except ValueError as error:
        raise UserError(f"protocol: {error}") from error
