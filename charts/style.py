"""One look for every chart: colours, fonts, and what each group of points is called."""

from dataclasses import dataclass

INK = "#1f2a37"
MUTED = "#64748b"
GRID = "#e8ecf1"
PAPER = "#ffffff"
ACCENT = "#0f766e"  # what was deployed here and fits
OVER = "#a3adba"  # deployed here, over the limit
OFFICIAL = "#c2410c"  # the official variants
PUBLISHED = "#7c6a9c"  # other data, other device
FEASIBLE_FILL = "rgba(15, 118, 110, 0.06)"
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class GroupStyle:
    """How a group of points looks. Shape and fill tell groups apart without colour too."""

    label: str
    color: str
    plotly_symbol: str
    matplotlib_marker: str
    filled: bool
    size: float


GROUPS = {
    "deployed": GroupStyle("deployed (this machine)", ACCENT, "circle", "o", True, 9),
    "official": GroupStyle("official variant (measured here)", OFFICIAL, "diamond", "D", True, 10),
    "over": GroupStyle("over the limit", OVER, "circle-open", "o", False, 8),
    "official_over": GroupStyle("official variant, over the limit", OFFICIAL, "diamond-open", "D", False, 9),
}
