"""A drawing of a network's stages: backbone, Rep-PAN neck and head, one row per stride."""

from pathlib import Path
from typing import Any

from foundation.errors import UserError
from yolov6space.candidate import STRIDES, ModelSpec, StageSpec

FORMATS = (".svg", ".png")

_WIDTH, _HEIGHT = 2.5, 0.86  # of a box, in inches as everything here
_COLUMNS = {"backbone": 1.6, "top_down": 5.1, "bottom_up": 8.6, "head": 12.1}
_ROWS = {1: 9.55, 2: 8.25, 4: 6.95, 8: 5.3, 16: 3.35, 32: 1.4}  # by stride
_SPPF_Y = 0.05
_FILL = {
    "image": "#eceff4",
    "conv": "#d9e2ec",
    "rep": "#bcd7f5",
    "csp_rep": "#ffdcae",
    "head": "#cdebc8",
}
_INK = "#24303c"
_FAINT = "#6b7885"


def draw(model: ModelSpec, path: Path, *, title: str, image_size: int = 640, num_classes: int = 80) -> None:
    """Write the drawing to `path`, SVG or PNG by its ending.

    Raises:
        UserError: another ending, or `path` cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"cannot draw to {path}: the name must end in {' or '.join(FORMATS)}")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text in the SVG, and equal networks give equal files.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9.5}):
        figure = Figure(figsize=(13.9, 12.0))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, 13.9)
        axes.set_ylim(-0.6, 11.4)
        axes.set_axis_off()
        _Drawing(axes, model, image_size, num_classes).everything(title)
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        try:
            figure.savefig(path, dpi=130, metadata=metadata, facecolor="white")
        except OSError as error:
            raise UserError(f"cannot write the drawing {path}: {error.strerror or error}") from None


class _Drawing:
    """Boxes are at (column, row) and arrows go between box edges."""

    def __init__(self, axes: Any, model: ModelSpec, image_size: int, num_classes: int) -> None:
        self.axes, self.model = axes, model
        self.image_size, self.num_classes = image_size, num_classes

    def everything(self, title: str) -> None:
        model = self.model
        self.axes.text(0.35, 11.1, title, fontsize=15, fontweight="bold", color=_INK, va="center")
        facts = f"3×3 convolutions: {model.conv}, activation: {model.activation}; head: SiLU"
        facts += f", DFL with {model.reg_max + 1} bins" if model.use_dfl else ", no DFL"
        self.axes.text(0.35, 10.72, facts, fontsize=10, color=_FAINT, va="center")
        for column, text in (
            ("backbone", "Backbone"),
            ("top_down", "Neck, top-down"),
            ("bottom_up", "Neck, bottom-up"),
            ("head", "Head"),
        ):
            y = _ROWS[1 if column == "backbone" else 8] + 0.62
            self.axes.text(
                _COLUMNS[column], y, text, ha="center", fontsize=11.5, fontweight="bold", color=_INK
            )
        self.backbone()
        self.neck()
        self.head()
        self.legend()

    def backbone(self) -> None:
        model, x = self.model, _COLUMNS["backbone"]
        self.box(x, _ROWS[1], "image", "Image", f"3 channels, {self.size(1)}")
        self.box(x, _ROWS[2], "conv", "Stem, 3×3 stride 2", f"{model.stem_channels} channels, {self.size(2)}")
        self.arrow((x, _ROWS[1] - _HEIGHT / 2), (x, _ROWS[2] + _HEIGHT / 2))
        above = 2
        for level, stage in enumerate(model.backbone, start=2):
            stride = 2**level
            self.stage(x, _ROWS[stride], f"Stage {level}", stage, stride)
            self.arrow(
                (x, _ROWS[above] - _HEIGHT / 2), (x, _ROWS[stride] + _HEIGHT / 2), "3×3 stride 2", side=0.08
            )
            above = stride
        channels = model.backbone[3].channels
        self.box(x, _SPPF_Y, "conv", "SPPF, 5×5 pool ×3", f"{channels} channels, {self.size(32)}")
        self.arrow((x, _ROWS[32] - _HEIGHT / 2), (x, _SPPF_Y + _HEIGHT / 2))

    def neck(self) -> None:
        left, down, up = (_COLUMNS[name] for name in ("backbone", "top_down", "bottom_up"))
        half_w, half_h = _WIDTH / 2, _HEIGHT / 2
        p4, p3, n3, n4 = self.model.neck
        self.box(down, _ROWS[32], "conv", "Reduce, 1×1", f"{p4.channels} channels, {self.size(32)}")
        self.stage(down, _ROWS[16], "P4 top-down", p4, 16)
        self.stage(down, _ROWS[8], "P3", p3, 8)
        self.stage(up, _ROWS[16], "P4", n3, 16)
        self.stage(up, _ROWS[32], "P5", n4, 32)
        # From the backbone: SPPF turns up into the first reduction, stages 3 and 4 go straight across.
        self.bent((left + half_w, _SPPF_Y), (down, _SPPF_Y), (down, _ROWS[32] - half_h))
        for stride in (16, 8):
            self.arrow((left + half_w, _ROWS[stride]), (down - half_w, _ROWS[stride]), "concat", above=0.1)
        self.arrow((down, _ROWS[32] + half_h), (down, _ROWS[16] - half_h), "upsample ×2", side=0.08)
        text = f"1×1 to {p3.channels},\nupsample ×2"
        self.arrow((down, _ROWS[16] + half_h), (down, _ROWS[8] - half_h), text, side=0.08)
        # Down again: P3 crosses to the right and meets the two reductions.
        self.bent((down + half_w, _ROWS[8] - 0.22), (up, _ROWS[8] - 0.22), (up, _ROWS[16] + half_h))
        self.label(up + 0.08, (_ROWS[8] + _ROWS[16]) / 2, "3×3 stride 2")
        self.arrow((up, _ROWS[16] - half_h), (up, _ROWS[32] + half_h), "3×3 stride 2", side=0.08)
        self.arrow(
            (down + half_w, _ROWS[16]), (up - half_w, _ROWS[16]), "1×1, concat", above=0.1, dashed=True
        )
        self.arrow((down + half_w, _ROWS[32]), (up - half_w, _ROWS[32]), "concat", above=0.1, dashed=True)

    def head(self) -> None:
        down, up, x = (_COLUMNS[name] for name in ("top_down", "bottom_up", "head"))
        half = _WIDTH / 2
        outputs = f"{self.num_classes} classes, {4 * (self.model.reg_max + 1)} box"
        for stride, width, source in zip(STRIDES, self.model.head_channels, (down, up, up), strict=True):
            y = _ROWS[stride]
            self.box(x, y, "head", f"Decoupled head, {width}", f"{outputs}, {self.size(stride)}")
            self.arrow((source + half, y), (x - half, y))

    def legend(self) -> None:
        entries = (("rep", "RepBlock"), ("csp_rep", "CSPStackRep"), ("conv", "convolution"), ("head", "head"))
        for index, (kind, text) in enumerate(entries):
            y = 10.0 - 0.36 * index
            self.patch(12.1, y - 0.11, 0.34, 0.22, kind)
            self.axes.text(12.55, y, text, va="center", color=_FAINT)

    # -- pieces --------------------------------------------------------------------------------------------

    def size(self, stride: int) -> str:
        side = self.image_size // stride
        return f"{side}×{side}"

    def stage(self, x: float, y: float, name: str, stage: StageSpec, stride: int) -> None:
        inner = f" ({stage.hidden_channels} inside)" if stage.hidden_channels else ""
        second = f"{stage.channels} channels{inner}"
        self.box(
            x, y, stage.block, f"{name}  ×{stage.repeats}", second, f"stride {stride}, {self.size(stride)}"
        )

    def box(self, x: float, y: float, kind: str, first: str, *lines: str) -> None:
        self.patch(x - _WIDTH / 2, y - _HEIGHT / 2, _WIDTH, _HEIGHT, kind)
        top = y + 0.125 * len(lines)
        self.axes.text(x, top, first, ha="center", va="center", fontweight="bold", color=_INK, fontsize=10)
        for index, line in enumerate(lines, start=1):
            self.axes.text(x, top - 0.25 * index, line, ha="center", va="center", color=_INK, fontsize=8.8)

    def patch(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        self.axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=0.09",
                fc=_FILL[kind],
                ec=_INK,
                lw=1.0,
            )
        )

    def arrow(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        text: str = "",
        *,
        side: float = 0.0,
        above: float = 0.0,
        dashed: bool = False,
    ) -> None:
        style = {
            "arrowstyle": "-|>",
            "color": _INK,
            "lw": 1.1,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 11,
        }
        if dashed:
            style["linestyle"] = (0, (4, 3))
        self.axes.annotate("", xy=end, xytext=start, arrowprops=style)
        if text:
            x, y = (start[0] + end[0]) / 2 + side, (start[1] + end[1]) / 2 + above
            self.label(x, y, text, centred=not side)

    def bent(self, start: tuple[float, float], corner: tuple[float, float], end: tuple[float, float]) -> None:
        """A line to the corner and an arrow from there."""
        self.axes.plot(
            [start[0], corner[0]], [start[1], corner[1]], color=_INK, lw=1.1, solid_capstyle="butt"
        )
        self.arrow(corner, end)

    def label(self, x: float, y: float, text: str, *, centred: bool = False) -> None:
        align = "center" if centred else "left"
        self.axes.text(x, y, text, ha=align, va="center", fontsize=8.2, color=_FAINT, linespacing=1.15)
