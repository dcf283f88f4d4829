"""What an older study knows, for a new one with another limit, device, data or size of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foundation.cli import progress
from foundation.errors import UserError
from search.knowledge import read_known
from search.study import Known
from storage.repository import Repository

SAME_LATENCY = ("hardware", "device", "backend", "image_size", "batch")


def older_results(
    repository: Repository, name: str | None, new_name: str, settings: Mapping[str, Any]
) -> list[Known]:
    """Results of the study `name`; none where no name is given.

    Its AP is a cheaper look at what this study finds out; its latencies hold as they are on the same device with
    the same settings, and are a figure to learn from on any other.

    Args:
        settings: of the new study.

    Raises:
        UserError: there is no such study, it is the new one itself, or it has no results.
    """
    if name is None:
        return []
    if name == new_name:
        raise UserError(f"--warm-start {name}: that is this study itself; the same command continues it")
    try:
        study = repository.get_study(name)
    except UserError as error:
        raise UserError(f"--warm-start {name}: {error}") from None
    same_device = all(study.settings.get(key) == settings.get(key) for key in SAME_LATENCY)
    found = [replace(read_known(trial), ended=True, older=True) for trial in repository.trials(study.id)]
    if not same_device:
        found = [replace(one, latency_ms=None, elsewhere_ms=one.latency_ms) for one in found]
    found = [one for one in found if (one.ap, one.latency_ms, one.elsewhere_ms) != (None, None, None)]
    if not found:
        raise UserError(f"--warm-start {name}: that study has no results yet; leave it out")
    data = "the same" if study.settings["data"]["fingerprint"] == settings["data"]["fingerprint"] else "other"
    device = "they hold here" if same_device else "measured otherwise, how they compare is learnt"
    progress(
        f"warm start from {name}: AP of {sum(one.ap is not None for one in found)} networks on {data} data, "
        f"latencies of {sum(one.latency_ms is not None or one.elsewhere_ms is not None for one in found)} "
        f"({device})"
    )
    return found
