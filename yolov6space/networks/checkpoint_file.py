"""The two formats of `torch.save`: the zip archive (since PyTorch 1.6) and the older stream of pickles."""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundation.errors import UserError
from yolov6space.networks.unpickler import RefusedError, StorageRecord, TensorRecord, load_pickle

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BROKEN = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, OverflowError, MemoryError, RecursionError, NotImplementedError, RuntimeError,
)  # fmt: skip


class CheckpointFile:
    """What a file holds.

    Attributes:
        root: the pickled object as data (`networks.unpickler`).
    """

    def __init__(self, root: Any, read: Callable[[StorageRecord], bytes], limit: int) -> None:
        """`read` gives the bytes of a storage; `limit` is the size of the file."""
        self.root = root
        self._read = read
        self._budget = 2 * limit  # tensors may share storage, but not so that they fill the memory
        self._storages: dict[str, Tensor] = {}

    def tensor(self, record: TensorRecord) -> Tensor:
        """The values of a tensor, a copy. Raises UserError where the file lacks them."""
        storage = record.storage
        if storage.key not in self._storages:
            data = bytearray(self._read(storage))
            self._storages[storage.key] = (
                torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0, dtype=storage.dtype)
            )
        values = self._storages[storage.key].as_strided(record.size, record.stride, record.offset)
        self._budget -= values.numel() * storage.dtype.itemsize
        if self._budget < 0:
            raise RefusedError("its tensors share their data so often that they would fill the memory")
        return values.clone()


@contextmanager
def readable(path: Path | str) -> Iterator[None]:
    """Turn what goes wrong with a damaged or hostile file into a UserError that names it."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{path}: {error}") from None
    except _BROKEN as error:
        detail = str(error) or type(error).__name__
        raise UserError(
            f"{path} is no readable PyTorch checkpoint ({detail}); it may be cut short, get it again"
        ) from None


def open_checkpoint(path: Path | str) -> CheckpointFile:
    """Read the file's structure; nothing of it is run. To be used inside `readable`.

    Raises:
        UserError: no such file, not a checkpoint, cut short, or asking for foreign code (`RefusedError`).
        Others: damaged in some other way.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror}); give the path of a .pt checkpoint") from None
    return _open_zip(data) if data[:4] == b"PK\x03\x04" else _open_legacy(data)


def _open_zip(data: bytes) -> CheckpointFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise UserError("the archive has no data.pkl (or several): not written by torch.save")
    # torch.save never compresses; a compressed entry could unfold to any size.
    if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
        raise RefusedError("the archive is compressed, which torch.save never does; refusing to unpack it")
    folder = pickles[0].removesuffix("data.pkl")
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
    if order != b"little":
        raise UserError("the file was written on a big-endian machine, which is not supported")

    def read(storage: StorageRecord) -> bytes:
        name = f"{folder}data/{storage.key}"
        if name not in entries or entries[name].file_size != storage.bytes:
            raise UserError(f"tensor data {name} of {storage.bytes} bytes is missing; get the file again")
        return archive.read(name)

    return CheckpointFile(load_pickle(io.BytesIO(archive.read(pickles[0])), len(data)), read, len(data))


def _open_legacy(data: bytes) -> CheckpointFile:
    stream = io.BytesIO(data)
    if load_pickle(stream, len(data)) != _LEGACY_MAGIC:
        raise UserError("this is not a PyTorch checkpoint (neither a zip archive nor the older format)")
    load_pickle(stream, len(data))  # protocol version
    system = load_pickle(stream, len(data))
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UserError("the file was written on a big-endian machine, which is not supported")
    storages: dict[str, StorageRecord] = {}
    root = load_pickle(stream, len(data), storages)
    blocks: dict[str, bytes] = {}
    for key in load_pickle(stream, len(data)):
        storage = storages[key]
        count = int.from_bytes(stream.read(8), "little")
        block = stream.read(storage.bytes)
        if count != storage.length or len(block) != storage.bytes:
            raise UserError(f"tensor data {key} is cut short; get the file again")
        blocks[key] = block
    return CheckpointFile(root, lambda storage: blocks[storage.key], len(data))
