"""What a candidate is: architecture (`ModelSpec`), training `Recipe` and `Precision`.

Values only: frozen, hashable, equal by value, with a JSON round trip and one canonical form. A parameter
that does not apply is None and every width is stored resolved (not as a multiplier), so two spellings of
one network are one candidate. Nothing here imports torch.

The number of classes and, unless searched, the input size belong to the workload and not to the candidate,
so that one candidate keeps its key across data sets.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

BLOCK_KINDS = ("rep", "csp_rep")
CONV_KINDS = ("repvgg", "qarepvgg", "repopt", "plain")
ACTIVATIONS = ("relu", "silu", "lrelu")
BOX_LOSSES = ("siou", "giou", "ciou", "diou")
CLASS_LOSSES = ("vfl", "qfl", "focal", "poly")
ASSIGNERS = ("tal", "simota", "atss")
DISTILLATIONS = ("none", "self")
PRECISION_KINDS = ("fp32", "fp16", "bf16", "int8")
QUANTIZATION_SCHEMES = ("ptq", "qat")
SENSITIVITY_METRICS = ("mse", "cosine", "snr", "ap")

CHANNEL_MULTIPLE = 8
MAX_STRIDE = 32
STRIDES = (8, 16, 32)


class SpecError(ValueError):
    """A candidate that cannot exist; the message names the field, its value and what is allowed."""


def _require_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SpecError(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def _require_int(name: str, value: object, low: int, high: int, multiple: int = 1) -> None:
    if type(value) is not int or not low <= value <= high or value % multiple:
        step = f", a multiple of {multiple}" if multiple > 1 else ""
        raise SpecError(f"{name} is {value!r}; it must be a whole number from {low} to {high}{step}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage of backbone or neck: `repeats` units at one resolution.

    Attributes:
        block: `rep`, a single path of 3x3 convolutions (RepBlock), or `csp_rep`, CSPStackRep (paper 2.1).
        channels: output channels, a multiple of 8.
        repeats: 3x3 convolutions of a `rep` stage, double-3x3 sub-blocks of a `csp_rep` stage; at least 1.
            In a backbone stage the stride-2 convolution before them is not counted.
        hidden_channels: width inside CSPStackRep (channels times the channel coefficient); None for `rep`.
    """

    block: str
    channels: int
    repeats: int
    hidden_channels: int | None = None

    def __post_init__(self) -> None:
        _require_choice("block", self.block, BLOCK_KINDS)
        _require_int("channels", self.channels, 8, 4096, CHANNEL_MULTIPLE)
        _require_int("repeats", self.repeats, 1, 64)
        if self.block == "csp_rep":
            _require_int("hidden_channels", self.hidden_channels, 1, 4096)
        elif self.hidden_channels is not None:
            raise SpecError(f"hidden_channels is {self.hidden_channels!r}; a rep stage has none (use null)")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """The architecture of a detector of the YOLOv6 family (paper 2.1 and 2.2), ready to be built.

    Attributes:
        stem_channels: output channels of the stride-2 stem.
        backbone: the stages at strides 4, 8, 16, 32; SPPF follows the last one.
        neck: Rep-PAN stages in order of data flow: top-down at stride 16, top-down at stride 8 (this is P3),
            bottom-up at stride 16 (P4), bottom-up at stride 32 (P5). The 1x1 reduce, the transposed
            convolution and the stride-2 convolution beside a top-down stage have that stage's channels.
        head_channels: width of the decoupled head at P3, P4, P5.
        conv: training form of the 3x3 convolutions.
        activation: of blocks and SPPF. The head is SiLU in every variant; the neck's plain 1x1 reduce and
            3x3 stride-2 convolutions are ReLU in every variant (release 0.2.0).
        reg_max: 0 without DFL (the head predicts four distances), else bins minus one (16 in the paper).
    """

    stem_channels: int
    backbone: tuple[StageSpec, StageSpec, StageSpec, StageSpec]
    neck: tuple[StageSpec, StageSpec, StageSpec, StageSpec]
    head_channels: tuple[int, int, int]
    conv: str = "repvgg"
    activation: str = "relu"
    reg_max: int = 0

    def __post_init__(self) -> None:
        _require_int("stem_channels", self.stem_channels, 8, 4096, CHANNEL_MULTIPLE)
        for name, stages in (("backbone", self.backbone), ("neck", self.neck)):
            if len(stages) != 4 or not all(isinstance(stage, StageSpec) for stage in stages):
                raise SpecError(f"{name} must be four stages")
        if len(self.head_channels) != 3:
            raise SpecError("head_channels must be three widths, for strides 8, 16 and 32")
        for stride, width in zip(STRIDES, self.head_channels, strict=True):
            _require_int(f"head_channels at stride {stride}", width, 8, 4096, CHANNEL_MULTIPLE)
        _require_choice("conv", self.conv, CONV_KINDS)
        _require_choice("activation", self.activation, ACTIVATIONS)
        _require_int("reg_max", self.reg_max, 0, 64)

    @property
    def use_dfl(self) -> bool:
        """Whether the head predicts a distribution over distances (DFL)."""
        return self.reg_max > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a candidate is trained. DFL is the loss of a head with `reg_max` > 0 and so not repeated here."""

    box_loss: str = "siou"
    class_loss: str = "vfl"
    assigner: str = "tal"
    distillation: str = "none"

    def __post_init__(self) -> None:
        _require_choice("box_loss", self.box_loss, BOX_LOSSES)
        _require_choice("class_loss", self.class_loss, CLASS_LOSSES)
        _require_choice("assigner", self.assigner, ASSIGNERS)
        _require_choice("distillation", self.distillation, DISTILLATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Number format of the deployed network.

    Attributes:
        kind: fp32, fp16, bf16 or int8.
        scheme: `ptq` or `qat` for int8, else None.
        float_layers: how many layers of an int8 network stay float (0: none), None for other kinds.
        metric: how those layers are chosen; None when there are none.
    """

    kind: str = "fp32"
    scheme: str | None = None
    float_layers: int | None = None
    metric: str | None = None

    def __post_init__(self) -> None:
        _require_choice("precision kind", self.kind, PRECISION_KINDS)
        if self.kind != "int8":
            given = [name for name in ("scheme", "float_layers", "metric") if getattr(self, name) is not None]
            if given:
                raise SpecError(f"precision {self.kind} takes no {', '.join(given)}; leave them null")
            return
        _require_choice("precision scheme", self.scheme, QUANTIZATION_SCHEMES)
        _require_int("float_layers", self.float_layers, 0, 256)
        if self.float_layers:
            _require_choice("sensitivity metric", self.metric, SENSITIVITY_METRICS)
        elif self.metric is not None:
            raise SpecError("metric chooses float layers and there are none; leave it null")

    @classmethod
    def of(cls, kind: str) -> "Precision":
        """The plain precision of a kind; int8 by PTQ with no layer in float. Raises SpecError."""
        return cls(kind=kind, scheme="ptq", float_layers=0) if kind == "int8" else cls(kind=kind)

    @property
    def label(self) -> str:
        """Short name for tables, such as `int8 ptq +6f`."""
        floats = f" +{self.float_layers}f" if self.float_layers else ""
        return self.kind + (f" {self.scheme}" if self.scheme else "") + floats


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Architecture + recipe + precision, and the input size (pixels, square) where that is searched too."""

    model: ModelSpec
    recipe: Recipe = field(default_factory=Recipe)
    precision: Precision = field(default_factory=Precision)
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None:
            _require_int("image_size", self.image_size, 32, 4096, MAX_STRIDE)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` gives back an equal candidate."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Candidate":
        """Inverse of `to_dict`. Raises SpecError that names what is unknown, missing or out of range."""
        fields = dict(_known(cls, data, "candidate"))
        fields["model"] = model_from_dict(fields.get("model"))
        fields["recipe"] = _build(Recipe, fields.get("recipe", {}), "recipe")
        fields["precision"] = _build(Precision, fields.get("precision", {}), "precision")
        return cls(**fields)

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that name this candidate everywhere; stable across processes."""
        return digest(self.to_dict())

    @property
    def label(self) -> str:
        """One line for tables: blocks (R rep, C csp_rep), channels, depths, neck, the rest."""
        return _short_label(self)

    @cached_property
    def training_key(self) -> str:
        """Names what training depends on, so candidates that differ only in PTQ share trained weights."""
        return digest({**self.to_dict(), "precision": None})


def _short_label(candidate: "Candidate") -> str:
    model = candidate.model
    letters = "".join("R" if stage.block == "rep" else "C" for stage in (*model.backbone, *model.neck))
    repeats = ".".join(str(stage.repeats) for stage in model.backbone)
    parts = [
        f"{letters[:4]}-{letters[4:]}",
        f"c{model.stem_channels}..{model.backbone[-1].channels}",
        f"d{repeats}",
        f"n{model.neck[1].channels}x{model.neck[1].repeats}",
        model.conv,
        model.activation,
        candidate.recipe.box_loss + (f"+dfl{model.reg_max}" if model.use_dfl else ""),
        candidate.precision.label,
    ]
    if candidate.image_size is not None:
        parts.append(f"{candidate.image_size}px")
    return " ".join(parts)


def digest(value: Any) -> str:
    """Twelve hexadecimal digits of the SHA-256 of `value` written as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def model_from_dict(data: object) -> ModelSpec:
    """Build a ModelSpec from plain JSON values. Raises SpecError."""
    fields = dict(_known(ModelSpec, data, "model"))
    for name in ("backbone", "neck"):
        stages = fields.get(name, ())
        if not isinstance(stages, list | tuple):
            raise SpecError(f"model.{name} must be a list of four stages")
        fields[name] = tuple(
            _build(StageSpec, stage, f"model.{name}[{index}]") for index, stage in enumerate(stages)
        )
    head = fields.get("head_channels", ())
    if not isinstance(head, list | tuple):
        raise SpecError("model.head_channels must be a list of three widths")
    fields["head_channels"] = tuple(head)
    return _call(ModelSpec, fields, "model")


def _build(cls: type, data: object, where: str) -> Any:
    return _call(cls, _known(cls, data, where), where)


def _call(cls: type, fields: Mapping[str, Any], where: str) -> Any:
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in fields]
    if missing:
        raise SpecError(f"{where} lacks {', '.join(missing)}")
    try:
        return cls(**fields)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _known(cls: type, data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise SpecError(f"{where} must be an object with named fields, not {type(data).__name__}")
    unknown = set(data) - {f.name for f in dataclasses.fields(cls)}
    if unknown:
        raise SpecError(f"{where} has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    return data
