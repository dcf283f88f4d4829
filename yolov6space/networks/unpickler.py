"""A pickle of PyTorch objects as data, without running any of its code.

Classes of the networks become inert `Shell`s that keep their state; tensors become `TensorRecord`s, checked
against the bytes that are really in the file; every other name that the pickle asks for is refused.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from foundation.errors import UserError

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Packages whose objects a checkpoint may hold. None of their code is imported or run: they become shells.
_SHELL_PACKAGES = ("yolov6", "torch.nn", "torch.optim", "numpy", "addict", "argparse", "pathlib", "datetime")
_SHELL_NAMES = {("torch", "device"), ("_codecs", "encode")}
# Opcodes that torch.save never writes and that only help to hide something or to eat memory.
_REFUSED_OPCODES = {"INST", "OBJ", "EXT1", "EXT2", "EXT4", "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER"}


class RefusedError(UserError):
    """The file asks for something that reading a checkpoint never needs."""


class Shell:
    """An object of the file without its behaviour.

    Attributes:
        name: full name of its class, as written in the file.
        args: what it would have been called with.
        state: what it would have been restored from; None if nothing.
    """

    name = ""
    __slots__ = ("args", "state")

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "Shell":
        shell = super().__new__(cls)
        shell.args, shell.state = args, None
        return shell

    def __setstate__(self, state: Any) -> None:
        self.state = state


class StorageRecord(NamedTuple):
    """A block of numbers somewhere in the file. A tuple, because a pickle cannot change one afterwards."""

    key: str
    dtype: torch.dtype
    length: int

    @property
    def bytes(self) -> int:
        """Size in the file."""
        return self.length * self.dtype.itemsize


class TensorRecord(NamedTuple):
    """A view of a storage, checked to lie inside it and not to be larger."""

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def load_pickle(stream: io.BytesIO, limit: int, storages: dict[str, StorageRecord] | None = None) -> Any:
    """The next pickle of a stream, checked first and then read.

    Args:
        limit: bytes that all tensors together may claim (the size of the file).
        storages: filled with the storages that the pickle mentions, by key.

    Raises:
        RefusedError: it asks for foreign code or for impossible amounts of memory.
        Other exceptions of `pickle`: it is damaged.
    """
    start = stream.tell()
    _scan(stream)
    stream.seek(start)
    return _Reader(stream, limit, {} if storages is None else storages).load()


def _scan(stream: io.BytesIO) -> None:
    """Refuse opcodes and memo places that no real checkpoint has. Runs nothing."""
    for index, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name in _REFUSED_OPCODES:
            raise RefusedError(
                f"the pickle uses {opcode.name}, which torch.save never writes; refusing to read it"
            )
        # A far memo place makes the unpickler allocate the whole table up to it.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > index:
            raise RefusedError("the pickle reserves far more memory than it has objects; refusing to read it")


class _Reader(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, limit: int, storages: dict[str, StorageRecord]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._limit, self._storages = limit, storages
        self._shells: dict[str, type[Shell]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module in ("torch", "torch.storage") and name in _DTYPES:
            return _DTYPES[name]
        full = f"{module}.{name}"
        inside = any(module == root or module.startswith(f"{root}.") for root in _SHELL_PACKAGES)
        if (
            inside
            or (module, name) in _SHELL_NAMES
            or (module == "torch" and isinstance(vars(torch).get(name), torch.dtype))
        ):
            return self._shells.setdefault(full, type(name, (Shell,), {"name": full, "__slots__": ()}))
        raise RefusedError(
            f"it asks for {full!r}, which no YOLOv6 checkpoint holds; the model is of another family or "
            "the file was made to run code. Nothing was run"
        )

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # the older format adds the source text of a class, which nobody needs
            return pid[1]
        kind, dtype, key, _, length = pid[:5]
        if kind != "storage" or not isinstance(dtype, torch.dtype) or type(length) is not int:
            raise UserError("a tensor of the file is of an unknown kind (quantized or sparse?)")
        if len(pid) > 5 and pid[5] is not None:
            raise UserError("the file holds views of storages as PyTorch 0.3 wrote them; save it again")
        record = StorageRecord(str(key), dtype, length)
        if record.key not in self._storages:
            self._storages[record.key] = record
            self._limit -= record.bytes
        if length < 0 or self._limit < 0:
            raise RefusedError(f"it claims tensors of more bytes than the file has (one of {length} numbers)")
        if self._storages[record.key] != record:
            raise RefusedError(f"storage {record.key} is described in two different ways")
        return record


class _Rebuild:
    """A function that the pickle may call and not change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise RefusedError("the pickle tries to change how tensors are read; refusing to read it")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRecord:
    if not isinstance(storage, StorageRecord):
        raise UserError("a tensor of the file has no storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(number) is not int or number < 0 for number in numbers):
        raise RefusedError("a tensor of the file has an impossible shape")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.length or (math.prod(size) and last >= storage.length):
        raise RefusedError("a tensor of the file is larger than its data")
    return TensorRecord(storage, offset, tuple(size), tuple(stride))


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): _Rebuild(_size),
    ("torch._utils", "_rebuild_tensor"): _Rebuild(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuild(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Rebuild(_parameter),
}
