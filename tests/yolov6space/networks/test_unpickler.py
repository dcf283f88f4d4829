"""Hostile and damaged checkpoints are refused in one line, and none of their code runs."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from functools import partial

import pytest
import torch

from foundation.errors import UserError
from yolov6space.networks.unpickler import RefusedError
from yolov6space.networks.upstream_modules import read_checkpoint


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def write_zip(path, pickled, storages=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in storages:
            archive.writestr(f"archive/data/{key}", data)


def storage_pickle(length, size, stride=(1,), offset=0, dtype="FloatStorage"):
    """{'model': {'w': tensor}} by hand, so that its claims can be false."""

    def numbers(values):
        return b"(" + b"".join(b"L" + str(value).encode() + b"L\n" for value in values) + b"t"

    return (
        b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00"
        b"storagectorch\n" + dtype.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuL"
        + str(length).encode() + b"L\ntQL" + str(offset).encode() + b"L\n" + numbers(size) + numbers(stride)
        + b"\x89ccollections\nOrderedDict\n)RtRss."
    )  # fmt: skip


def test_a_handmade_pickle_with_true_claims_is_read(tmp_path):
    write_zip(tmp_path / "ok.pt", storage_pickle(3, (3,)), [("0", struct.pack("<3f", 1, 2, 3))])
    assert read_checkpoint(tmp_path / "ok.pt")["w"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(lambda mark: Calls(os.system, f"touch {mark}"), id="os.system"),
        pytest.param(lambda mark: Calls(eval, f"open({str(mark)!r}, 'w')"), id="eval"),
        pytest.param(lambda mark: Calls(exec, f"open({str(mark)!r}, 'w')"), id="exec"),
        pytest.param(lambda mark: Calls(getattr, OrderedDict, "fromkeys"), id="getattr"),
        pytest.param(lambda mark: Calls(partial, os.mkdir, str(mark)), id="partial"),
        pytest.param(lambda mark: Calls(bytearray, 1 << 40), id="allocation"),
        pytest.param(lambda mark: Calls(torch.hub.load, "a/b", "c"), id="torch.hub"),
        pytest.param(lambda mark: Calls(torch.load, str(mark)), id="torch.load"),
    ],
)
def test_foreign_calls_are_refused_and_do_not_run(tmp_path, attack, legacy):
    mark = tmp_path / "was-run"
    path = tmp_path / "bad.pt"
    torch.save({"model": attack(mark)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RefusedError, match=r"bad\.pt: it asks for .*Nothing was run") as refusal:
        read_checkpoint(path)
    assert "\n" not in str(refusal.value)
    assert not mark.exists()


def test_code_behind_an_allowed_package_name_stays_inert(tmp_path):
    # numpy may be named, but becomes a shell: nothing of it is looked up or called.
    body = b"\x80\x02}X\x05\x00\x00\x00modelcnumpy.f2py\nos.system\nX\x04\x00\x00\x00exit\x85Rs."
    write_zip(tmp_path / "numpy.pt", body)
    with pytest.raises(UserError, match="holds no model"):
        read_checkpoint(tmp_path / "numpy.pt")


def test_tensor_records_cannot_be_changed_after_their_check(tmp_path):
    tensor = storage_pickle(3, (3,))[:-3]  # up to the tensor
    body = tensor + b"(X\x01\x00\x00\x00aL1000000L\ntbss."
    write_zip(tmp_path / "x.pt", body, [("0", bytes(12))])
    with pytest.raises(UserError):
        read_checkpoint(tmp_path / "x.pt")


def test_reading_functions_cannot_be_changed(tmp_path):
    body = b"\x80\x02}X\x05\x00\x00\x00modelctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sbs."
    write_zip(tmp_path / "x.pt", body)
    with pytest.raises(RefusedError, match="tries to change"):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"length": 10**12, "size": (10**12,)}, "more bytes than the file has"),
        ({"length": -3, "size": (3,)}, "more bytes than the file has"),
        ({"length": 3, "size": (4,)}, "larger than its data"),
        ({"length": 3, "size": (3,), "offset": 1}, "larger than its data"),
        ({"length": 3, "size": (2,), "stride": (3,)}, "larger than its data"),
        ({"length": 3, "size": (10**9,), "stride": (0,)}, "larger than its data"),
        ({"length": 3, "size": (-3,)}, "impossible shape"),
        ({"length": 3, "size": (3,), "stride": (1, 1)}, "impossible shape"),
        ({"length": 2, "size": (2,)}, "is missing"),
    ],
)
def test_false_claims_about_a_tensor_are_refused(tmp_path, claims, reason):
    write_zip(tmp_path / "x.pt", storage_pickle(**claims), [("0", bytes(12))])
    with pytest.raises(UserError, match=reason):
        read_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x80\x02]r\xff\xff\xff\x7f.", id="far memo place"),
        pytest.param(b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b".", id="huge bytearray"),
        pytest.param(b"\x80\x02(ios\nsystem\n.", id="old instance opcode"),
        pytest.param(b"\x80\x02\x8a\xff", id="cut inside a number"),
        pytest.param(b"\x80\x02.", id="empty stack"),
        pytest.param(b"\x80\x02N.", id="none"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x80\x02" + b"(" * 10 + b"t.", id="marks"),
        pytest.param(b"\x80\x02X\x05\x00\x00\x00model\x93.", id="names from nowhere"),
        pytest.param(b"\x80\x02h\x07.", id="memo never filled"),
    ],
)
def test_strange_pickles_are_refused(tmp_path, body):
    write_zip(tmp_path / "x.pt", body)
    with pytest.raises(UserError) as refusal:
        read_checkpoint(tmp_path / "x.pt")
    assert "x.pt" in str(refusal.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, legacy):
    whole = io.BytesIO()
    torch.save({"model": {"w": torch.rand(64)}}, whole, _use_new_zipfile_serialization=not legacy)
    data = whole.getvalue()
    path = tmp_path / "cut.pt"
    for length in range(0, len(data) - 1, 37):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"cut\.pt"):
            read_checkpoint(path)


def test_a_compressed_archive_is_refused(tmp_path):
    write_zip(tmp_path / "bomb.pt", pickle.dumps({"model": "0" * 10**6}, 2), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(RefusedError, match="compressed"):
        read_checkpoint(tmp_path / "bomb.pt")


def test_tensors_that_share_their_data_too_often_are_refused(tmp_path):
    data = torch.zeros(10_000)
    torch.save({"model": {f"w{index}": data for index in range(100)}}, tmp_path / "shared.pt")
    with pytest.raises(RefusedError, match="share their data"):
        read_checkpoint(tmp_path / "shared.pt")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64])
@pytest.mark.parametrize("legacy", [False, True])
def test_values_and_views_survive(tmp_path, dtype, legacy):
    base = torch.arange(24).to(dtype)
    saved = {"a": base[4:16].view(3, 4).t(), "b": base[::3], "scalar": base[5], "empty": base[:0]}
    torch.save({"model": saved}, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(tmp_path / "x.pt")
    assert all(torch.equal(read[name], saved[name]) and read[name].dtype == dtype for name in saved)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.pt"):
        read_checkpoint(tmp_path / "x.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt: cannot be read"):
        read_checkpoint(tmp_path / "none.pt")
