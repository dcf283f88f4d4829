"""Reading a space from YAML, with one clear error for whatever is wrong with it.

extends: default                # default or paper: where dimensions that are not named come from
name: small and plain
dimensions:
  width: [0.125, 0.25]          # the choices
  conv: plain                   # one choice: fixed
  backbone.*.block: [rep]       # a pattern names several dimensions
"""

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from foundation.errors import UserError
from yolov6space import scaling
from yolov6space.dimensions import KINDS, Value

PACKAGED = ("default", "paper")
_FIELDS = ("name", "description", "extends", "dimensions")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times faster
_MAX_CHANNELS, _MAX_REPEATS = 4096, 64  # of StageSpec


@cache
def packaged(name: str) -> Mapping[str, Any]:
    """The plain values of a space that comes with the package."""
    text = resources.files("yolov6space").joinpath(f"{name}_space.yaml").read_text(encoding="utf-8")
    data: Mapping[str, Any] = yaml.load(text, Loader=_LOADER)
    return data


def read(path: Path) -> Mapping[str, Any]:
    """The checked plain values of a user's file, `extends` resolved. Raises UserError."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except OSError as error:
        raise UserError(f"cannot read the space file {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file; a space is YAML, see docs/space.md") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} is not YAML{where}: {getattr(error, 'problem', error)}") from None
    if isinstance(data, Mapping):
        data = {"name": path.stem, **data}
    name, choices = check(data, str(path))
    return {"name": name, "dimensions": choices}


def check(data: object, where: str) -> tuple[str, dict[str, tuple[Value, ...]]]:
    """Name and canonical choices of every dimension. Raises UserError, which starts with `where`."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: a space must be a mapping with `dimensions`, not {_kind_of(data)}")
    for field in data:
        if field not in _FIELDS:
            raise UserError(f"{where}: unknown field {field!r}{_hint(field, _FIELDS)}")
    given = data.get("dimensions") or {}
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: dimensions must be a mapping of names to choices, not {_kind_of(given)}")
    choices: dict[str, tuple[Value, ...]] = {}
    base = data.get("extends")
    if base is not None:
        if base not in PACKAGED:
            raise UserError(f"{where}: extends is {base!r}; choose one of {', '.join(PACKAGED)}")
        choices = dict(check(packaged(base), f"the {base} space")[1])
    for pattern, values in given.items():
        for name in _matching(pattern, where):
            choices[name] = _choices(name, values, where)
    missing = [name for name in KINDS if name not in choices]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UserError(
            f"{where}: no choices for {', '.join(missing[:3])}{more}; name them or add `extends: default`"
        )
    _check_bounds(choices, where)
    return str(data.get("name", "space")), {name: choices[name] for name in KINDS}


def _matching(pattern: object, where: str) -> list[str]:
    names = [name for name in KINDS if fnmatchcase(name, str(pattern))]
    if not names:
        raise UserError(f"{where}: no dimension is called {pattern!r}{_hint(pattern, tuple(KINDS))}")
    return names


def _choices(name: str, given: object, where: str) -> tuple[Value, ...]:
    kind = KINDS[name]
    values = given if isinstance(given, list | tuple) else [given]
    if not values:
        raise UserError(f"{where}: {name} has no choices; give at least one, {kind.describe}")
    found: list[Value] = []
    for value in values:
        try:
            canonical = kind.normalise(value)
        except ValueError:
            shown = "null" if value is None else repr(value)
            raise UserError(f"{where}: {name} has the choice {shown}; it must be {kind.describe}") from None
        if canonical in found:
            raise UserError(f"{where}: {name} lists {value!r} twice")
        found.append(canonical)
    if None in found and len(found) > 1:
        raise UserError(
            f"{where}: {name} mixes null (left to the workload) with values; choose one or the other"
        )
    if kind.ordered and len(found) > 1:
        found.sort(key=lambda value: Fraction(str(value)))
    return tuple(found)


def _check_bounds(choices: Mapping[str, tuple[Any, ...]], where: str) -> None:
    """The widest and the deepest network must be possible, so that every candidate is."""
    for axis, largest, limit, unit in (
        ("width", max(scaling.BACKBONE_CHANNELS), _MAX_CHANNELS, "channels"),
        ("depth", max(scaling.BACKBONE_REPEATS), _MAX_REPEATS, "repeats"),
    ):
        stages = [
            max(values) for name, values in choices.items() if name.endswith(f".{axis}") and "." in name
        ]
        reached = largest * max(choices[axis]) * max(1.0, *stages) * max(1.0, *choices[f"neck.{axis}"])
        if reached > limit:
            raise UserError(
                f"{where}: the largest {axis} multiples together could reach {reached:g} {unit} in a stage; "
                f"the limit is {limit}, so lower {axis} or the {axis}s of the stages"
            )


def _hint(given: object, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(given), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"


def _kind_of(value: object) -> str:
    return {type(None): "empty", list: "a list", str: "text"}.get(type(value), type(value).__name__)
