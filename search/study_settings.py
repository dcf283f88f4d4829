"""What makes a study that study, and whether a study that is there asks the same question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import UserError
from search.options import DEFAULT_TRAIN_BATCH, SearchOptions
from storage import Repository, StudyRecord
from yolov6space.space import Space

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from evaluators.latency import Hardware

# What proposals depend on and fixed trials do not: a run of fixed trials alone neither asks nor decides it.
OF_PROPOSALS = ("sampler", "focus", "warm_start", "shared_training_s", "space")


def absolute(source: str) -> str:
    """Workers run in other folders."""
    return source if source == "bundled" else str(Path(source).expanduser().resolve())


def settings_of(
    options: SearchOptions, data: DetectionData, hardware: Hardware, space: Space, image_size: int
) -> dict[str, Any]:
    """What makes a study that study; a run with other settings is another study."""
    return {
        "target_latency_ms": options.target_ms,
        "data": {
            "name": data.name,
            "description": data.description,
            "fingerprint": data.fingerprint,
            "source": absolute(options.data),
        },
        "classes": list(data.class_names),
        "hardware": hardware.name,
        "device": hardware.device,
        "backend": hardware.backend,
        "image_size": image_size,
        "batch": options.batch,
        "train_batch": DEFAULT_TRAIN_BATCH,
        "seed": options.seed,
        "sampler": options.sampler,
        "focus": options.focus,
        "warm_start": options.warm_start,
        "shared_training_s": options.shared_training_s,
        "space": {dimension.name: list(dimension.choices) for dimension in space.dimensions},
    }


def settings_to_store(wanted: dict[str, Any], options: SearchOptions) -> dict[str, Any]:
    """Those that this run decides."""
    return {key: value for key, value in wanted.items() if not (options.only_fixed and key in OF_PROPOSALS)}


def known_study(
    repository: Repository, name: str, wanted: dict[str, Any], options: SearchOptions
) -> StudyRecord | None:
    """The study of that name if it is there and asks the same question; UserError if it asks another."""
    if not options.resume and name not in {study.name for study in repository.list_studies()}:
        return None
    study = repository.get_study(name)
    for key, value in wanted.items():
        if key in OF_PROPOSALS and (options.only_fixed or key not in study.settings):
            continue
        before = study.settings.get(key)
        if key == "data":
            before, value = study.settings["data"]["fingerprint"], value["fingerprint"]
        if before != value:
            shown = "" if key in ("space", "classes") else f" ({before!r}, now {value!r})"
            raise UserError(f"study {name} was made with another {key}{shown}; choose another --study name")
    if options.epochs not in (None, study.settings["epochs"]):
        raise UserError(
            f"study {name} trains {study.settings['epochs']} epochs, not {options.epochs}: its trials would not "
            "compare; leave out --epochs, or choose another --study name"
        )
    return study
