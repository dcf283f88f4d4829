"""Draws estimated against published Tesla T4 latencies for docs/estimates.md.

    python docs/draw_t4_estimate.py --out docs/images/t4_estimate.png

Every estimate is one of a model refitted without that network.
"""

from pathlib import Path

import click

from evaluators.estimate.fit import Observation, leave_out
from evaluators.estimate.t4 import distinct, published_rows
from evaluators.estimate.tensorrt_time import RUNTIMES, TensorRtTime
from foundation.cli import run

_COLOURS = dict(zip(RUNTIMES, ("#1f77b4", "#ff7f0e", "#2ca02c"), strict=True))


def _group(row: Observation) -> tuple[str, str, str]:
    kind = "int8" if row.case.precision.kind == "int8" else f"fp16, batch {row.case.batch}"
    return row.case.runtime, kind, "o" if row.case.batch == 1 else "s"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A PNG file.")
def draw(out: Path) -> None:
    """Estimated against published latency per image, with the 90 % interval of every estimate."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = distinct(published_rows())
    estimates = leave_out(TensorRtTime(), rows, lambda row: row.case.model)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 5), dpi=110)
    drawn = set()
    for row, one in zip(rows, estimates, strict=True):
        runtime, kind, marker = _group(row)
        label = f"{runtime}, {kind}"
        told, value = row.ms / row.case.batch, one.value_ms / row.case.batch
        span = [
            [(one.value_ms - one.low_ms) / row.case.batch],
            [(one.high_ms - one.value_ms) / row.case.batch],
        ]
        look = {
            "fmt": "D" if kind == "int8" else marker,
            "color": _COLOURS[runtime],
            "mfc": "none" if marker == "s" else None,
            "ms": 5,
            "lw": 1,
            "label": None if label in drawn else label,
        }
        left.errorbar(told, value, yerr=span, **look)
        relative = [[100 * (1 - one.low_ms / one.value_ms)], [100 * (one.high_ms / one.value_ms - 1)]]
        right.errorbar(told, 100 * (value / told - 1), yerr=relative, **look)
        drawn.add(label)
    ends = (0.6, 12)
    left.plot(ends, ends, color="black", lw=0.8)
    left.set(xscale="log", yscale="log", xlabel="published, ms per image", ylabel="estimated, ms per image")
    right.axhline(0, color="black", lw=0.8)
    right.set(xscale="log", xlabel="published, ms per image", ylabel="error of the estimate, %")
    for axes in (left, right):
        axes.grid(alpha=0.3, which="both")
    left.legend(fontsize=7)
    figure.suptitle("Tesla T4, YOLOv6 at 640 px: estimated without the network itself, against published")
    figure.tight_layout()
    figure.savefig(out, metadata={"Software": None})


if __name__ == "__main__":
    run(draw, "python docs/draw_t4_estimate.py")
