"""From the shells of a checkpoint to named tensors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from foundation.errors import UserError
from yolov6space.networks.checkpoint_file import CheckpointFile, open_checkpoint, readable
from yolov6space.networks.unpickler import RefusedError, Shell, TensorRecord

_MAX_MODULES = 20_000  # YOLOv6-L has under 2,000; a pickle can nest one module exponentially often
_MAX_DEPTH = 40


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model found in a checkpoint.

    Attributes:
        tensors: parameters and buffers by name, in the precision of the file.
        classes: full class name of every module, by module name; empty if the file held a bare state dict.
        epsilons: `eps` of the modules that have one.
    """

    tensors: dict[str, Tensor]
    classes: dict[str, str]
    epsilons: dict[str, float]


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """The named tensors of the model in a checkpoint, without running any code of the file.

    Of a checkpoint with several models the averaged one (`ema`) is taken, as upstream does.

    Raises:
        UserError: not readable, hostile, or without a model.
    """
    return read_model(path).tensors


def read_model(path: Path | str) -> UpstreamModel:
    """As `read_checkpoint`, with what is known of the modules."""
    with readable(path):
        return _model(open_checkpoint(path))


def _model(file: CheckpointFile) -> UpstreamModel:
    root = file.root
    if isinstance(root, Mapping):
        entries = [root[key] for key in ("ema", "model", "state_dict") if root.get(key) is not None]
        root = entries[0] if entries else root
    model = UpstreamModel({}, {}, {})
    if isinstance(root, Shell):
        for name, shell in _modules(root):
            _collect(file, name, shell, model)
    elif isinstance(root, Mapping):
        records = {str(name): value for name, value in root.items() if isinstance(value, TensorRecord)}
        model.tensors.update({name: file.tensor(record) for name, record in records.items()})
    if not model.tensors:
        raise UserError("the checkpoint holds no model: no `ema` or `model` entry with tensors")
    return model


def _modules(root: Shell) -> Iterator[tuple[str, Shell]]:
    """Module names and shells, parents first, without the wrapper of a parallel model."""
    pending: list[tuple[str, Shell, int]] = [("", root, 0)]
    count = 0
    while pending:
        name, shell, depth = pending.pop()
        count += 1
        if count > _MAX_MODULES or depth > _MAX_DEPTH:
            raise RefusedError("its modules are nested without end; refusing to read it")
        yield name, shell
        prefix = "" if not name or name == "module" else f"{name}."
        for child, value in _table(shell, "_modules").items():
            if isinstance(value, Shell):
                pending.append((f"{prefix}{child}", value, depth + 1))


def _collect(file: CheckpointFile, name: str, shell: Shell, model: UpstreamModel) -> None:
    model.classes[name] = shell.name
    epsilon = shell.state.get("eps") if isinstance(shell.state, Mapping) else None
    if isinstance(epsilon, float):
        model.epsilons[name] = epsilon
    prefix = f"{name}." if name and name != "module" else ""
    for table in ("_parameters", "_buffers"):
        for key, value in _table(shell, table).items():
            if isinstance(value, TensorRecord):
                model.tensors[f"{prefix}{key}"] = file.tensor(value)


def _table(shell: Shell, name: str) -> Mapping[str, Any]:
    table = shell.state.get(name) if isinstance(shell.state, Mapping) else None
    return table if isinstance(table, Mapping) else {}
