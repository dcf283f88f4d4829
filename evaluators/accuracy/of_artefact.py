"""AP of an artefact on a data set, with a progress bar, going on where an interrupted run ended."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evaluators.accuracy.protocol import Protocol
from foundation.cli import progress

if TYPE_CHECKING:
    from evaluators.accuracy.backends import Backend
    from evaluators.accuracy.judge import Accuracy
    from evaluators.artefact import Artefact
    from evaluators.data import DetectionData, Split


def load_split(artefact: "Artefact", source: str, split: str) -> "tuple[DetectionData, Split]":
    """A data set and one split of it, with labels in the order of the network's classes.

    Raises:
        UserError: the data cannot be used, or have other classes than the network.
    """
    from evaluators.data import load_data

    data = load_data(source, splits=(split,))
    for line in data.warnings:
        progress(f"warning: {line}")
    progress(f"data: {data.name} ({data.description})")
    return data, data.split(split).with_classes(data.class_names, artefact.meta.class_names)


def judge_artefact(
    artefact: "Artefact",
    data: "DetectionData",
    part: "Split",
    backend: "Backend",
    *,
    protocol: Protocol,
    limit: int | None = None,
    interval: bool = False,
) -> "Accuracy":
    """Judge through one back end. Detections are kept in the cache folder until the judgement is complete.

    Raises:
        UserError: an image cannot be read, or the protocol does not suit the back end.
    """
    from evaluators.accuracy.backends import open_backend
    from evaluators.accuracy.judge import judge
    from evaluators.accuracy.kept import KeptDetections

    total = len(part) if limit is None else min(limit, len(part))
    kept = KeptDetections(*_place_and_key(artefact, data, part, backend, protocol))
    judged: list[int] = []
    try:
        if kept.found:
            progress(f"continuing an interrupted run: {len(kept.found)} images are done already")
        bar: Any = click.progressbar(length=total, label=f"images ({backend.name})", file=sys.stderr)
        with open_backend(artefact, backend.name) as engine, bar as shown:
            accuracy = judge(
                engine,
                part,
                image_size=artefact.meta.image_size,
                protocol=protocol,
                limit=limit,
                interval=interval,
                on_image=lambda done: shown.update(done - shown.pos),
                kept=kept,
            )
        judged = [image.id for image in part.images[:total]]
        return accuracy
    finally:
        kept.close(judged=judged)


def _place_and_key(
    artefact: "Artefact", data: "DetectionData", part: "Split", backend: "Backend", protocol: Protocol
) -> tuple[Path, dict[str, Any]]:
    from evaluators.data.bundled import cache_folder
    from evaluators.environment import environment
    from yolov6space.candidate import digest

    key = {
        "artefact": artefact.hash,
        "weights": artefact.meta.weights_sha256,
        "backend": [backend.name, backend.backend, environment()["versions"].get(_package(backend))],
        "data": [data.fingerprint, part.name, list(artefact.meta.class_names)],
        "protocol": protocol.to_dict(),
    }
    return cache_folder() / "unfinished" / f"{digest(key)}.jsonl", key


def _package(backend: "Backend") -> str:
    """Whose release decides what a back end computes."""
    return "torch" if backend.backend == "pytorch" else backend.backend
