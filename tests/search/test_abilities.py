"""What a space may offer a search."""

from dataclasses import replace

import pytest

from evaluators.hardware import resolve_hardware
from foundation.errors import UserError
from search.abilities import require_able
from yolov6space.space import Space


def offering(dimension: str, *choices: str) -> Space:
    space = Space.default()
    kept = tuple(replace(one, choices=choices) if one.name == dimension else one for one in space.dimensions)
    return replace(space, dimensions=kept)


def test_a_search_does_qat_and_no_sensitivity_by_ap() -> None:
    here = resolve_hardware("cpu")
    require_able(offering("quantization", "ptq", "qat"), here)
    with pytest.raises(UserError, match="sensitivity_metric offers ap"):
        require_able(offering("sensitivity_metric", "mse", "ap"), here)
