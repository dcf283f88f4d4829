"""The network that a command is about: a name, a file with a candidate, or a folder with an artefact."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from foundation.errors import UserError
from foundation.scratch import Scratch
from yolov6space.candidate import Candidate, Precision

if TYPE_CHECKING:
    from evaluators.artefact import Artefact
    from evaluators.hardware import Hardware


def candidate_of(name: str | None, spec: Path | None, kind: str | None, default: str) -> Candidate:
    """The network asked for; `default` is the precision of a named one unless `kind` is given.

    Raises:
        UserError: no such name, or no candidate in the file.
    """
    if name is not None:
        from yolov6space.variants import get

        return dataclasses.replace(get(name), precision=Precision.of(kind or default))
    assert spec is not None
    from yolov6space.describe import read_candidate

    candidate = read_candidate(spec)
    if kind is None or kind == candidate.precision.kind:
        return candidate
    return dataclasses.replace(candidate, precision=Precision.of(kind))


@contextmanager
def artefact_of(
    candidate: Candidate | None, folder: Path | None, hardware: "Hardware", given: Mapping[str, Any]
) -> Iterator["Artefact"]:
    """The one in `folder`, or a temporary one of the candidate."""
    from evaluators.artefact import load_artefact, untrained_artefact
    from evaluators.hardware import float_format

    if candidate is None:
        artefact = load_artefact(folder or "")
        require_as_built(artefact, folder, given)
        yield artefact
        return
    with Scratch("latency") as temporary:
        progress(f"building {candidate.precision.label} with untrained weights ...")
        yield untrained_artefact(
            candidate,
            num_classes=given["classes"] or 80,
            image_size=given["image_size"] or candidate.image_size or hardware.default_image_size,
            batch=given["batch"] or 1,
            folder=temporary / "artefact",
            float_format=float_format(hardware),
        )


def require_as_built(artefact: "Artefact", folder: Path | None, given: Mapping[str, Any]) -> None:
    """Raises UserError when an option asks for something else than the artefact was built for."""
    fixed = {
        "image_size": artefact.meta.image_size,
        "batch": artefact.meta.batch,
        "precision": artefact.meta.precision,
        "classes": len(artefact.meta.class_names),
    }
    for option, value in fixed.items():
        if given[option] not in (None, value):
            flag = "--" + option.replace("_", "-")
            raise UserError(f"{flag} {given[option]}: {folder} was built for {value}; leave {flag} out")
