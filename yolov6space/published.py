"""Published figures of the named networks, each with its source and the conditions it was taken under.

The numbers are in `published.yaml`; its head explains the format. They are never results of this project.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from yolov6space.variants import canonical_name

UNITS = {"ap": "%", "ap50": "%", "fps": "images/s", "latency_ms": "ms", "params_m": "M", "flops_g": "G"}
_ASPECTS = {
    "ap": "accuracy",
    "ap50": "accuracy",
    "fps": "speed",
    "latency_ms": "speed",
    "params_m": "size",
    "flops_g": "size",
}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Conditions of a figure; None where they do not matter to it or the source does not say.

    Attributes:
        data: what AP was measured on.
        device, runtime: of a speed, such as Tesla T4 and TensorRT 7.2.
        precision: fp32, fp16 or int8.
        batch: of a speed.
        image_size: pixels, square.
        epochs, distillation: of the training behind an AP.
        condition: what a row of an ablation table varies.
    """

    data: str | None = None
    device: str | None = None
    runtime: str | None = None
    precision: str | None = None
    batch: int | None = None
    image_size: int | None = None
    epochs: int | None = None
    distillation: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One printed number.

    Attributes:
        network: name of a variant or of another detector of the comparison.
        metric: ap, ap50, fps, latency_ms, params_m or flops_g.
        value, unit: as printed; FLOPs in the published convention (see `yolov6space.cost`).
        table, source: short name for plots; where it was printed.
        confidence: verified (seen in the source) or computed (follows from verified configuration).
        note: what to know before quoting it, or None.
    """

    network: str
    metric: str
    value: float
    unit: str
    table: str
    source: str
    confidence: str
    protocol: Protocol
    note: str | None = None


def published(name: str) -> list[PublishedFigure]:
    """The figures of a named network (spelled as `variants.get` allows), Table 1 first; maybe none.

    Other detectors of the comparison (`networks()` lists them) have figures too. Raises UserError for an
    unknown name.
    """
    figures = _figures()
    others = {network.lower(): network for network in figures}
    if name.lower() in others:
        return list(figures[others[name.lower()]])
    return list(figures.get(canonical_name(name), ()))


def networks() -> tuple[str, ...]:
    """Every network that has published figures, other detectors included."""
    return tuple(_figures())


@cache
def _figures() -> dict[str, list[PublishedFigure]]:
    text = resources.files("yolov6space").joinpath("published.yaml").read_text(encoding="utf-8")
    found: dict[str, list[PublishedFigure]] = {}
    for table in yaml.load(text, Loader=_LOADER):
        for row in table["rows"]:
            found.setdefault(row["network"], []).extend(_figures_of(table, row))
    return found


def _figures_of(table: Mapping[str, Any], row: Mapping[str, Any]) -> list[PublishedFigure]:
    figures = []
    for column, value in row.items():
        metric, _, batch = column.partition("_b")
        if metric not in UNITS:
            continue
        keys = (f"{_ASPECTS[metric]}_note", "note")
        notes = [source[key] for source in (row, table) for key in keys if key in source]
        figures.append(
            PublishedFigure(
                network=row["network"],
                metric=metric,
                value=float(value),
                unit=UNITS[metric],
                table=table["id"],
                source=table["source"],
                confidence=table["confidence"],
                protocol=_protocol(table, row, metric, int(batch) if batch else None),
                note="; ".join(notes) or None,
            )
        )
    return figures


def _protocol(table: Mapping[str, Any], row: Mapping[str, Any], metric: str, batch: int | None) -> Protocol:
    def own(*names: str) -> dict[str, Any]:
        return {name: row[name] for name in names if name in row}

    if _ASPECTS[metric] == "accuracy":
        shared = table.get("accuracy", {})
        return Protocol(**{**shared, **own("image_size", "precision", "epochs", "distillation", "condition")})
    if _ASPECTS[metric] == "speed":
        shared = table.get("speed", {})
        return Protocol(**{**shared, **own("image_size", "precision", "condition"), "batch": batch})
    if metric == "flops_g":
        return Protocol(**{"image_size": 640, **own("image_size")})
    return Protocol()
