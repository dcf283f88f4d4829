from types import SimpleNamespace

import pytest

from evaluators.tensorrt.library import (
    Library,
    find_library,
    packed_architectures,
    require_capability,
    require_own_capability,
)
from foundation.errors import UserError


def tensorrt(version, files=()):
    library = Library("tensorrt", SimpleNamespace(__version__=version))
    library.__dict__["packed_architectures"] = packed_architectures(files)
    return library


@pytest.mark.parametrize("version", ["10.0.1", "10.14.1.48", "11.0.0.114", "11.1.0.106"])
def test_documented_releases_build_for_a_t4(version):
    require_capability(tensorrt(version), "7.5")


def test_other_releases_are_refused_for_a_t4_with_one_that_builds():
    with pytest.raises(UserError, match=r"11\.4\.1.*Tesla T4.*pip install 'tensorrt>=10\.0,<11\.2'"):
        require_capability(tensorrt("11.4.1.9"), "7.5")


def test_the_installed_kernels_decide_where_they_are_packed_by_architecture():
    files = [f"libnvinfer_builder_resource_sm{number}.so.11.4.1" for number in (75, 80, 120)]
    require_capability(tensorrt("11.4.1.9", files), "7.5")
    with pytest.raises(UserError, match="not known to build"):
        require_capability(tensorrt("10.14.1", files[1:]), "7.5")
    assert packed_architectures(files) == {"7.5", "8.0", "12.0"}
    assert packed_architectures(["libnvinfer_builder_resource.so.10.3.0"]) == set()


def test_tensorrt_rtx_is_asked_which_it_knows():
    module = SimpleNamespace(__version__="1.7.0", ComputeCapability=SimpleNamespace(SM75=1, SM120=2, NONE=3))
    require_capability(Library("tensorrt_rtx", module), "12.0")
    with pytest.raises(UserError, match=r"capability 7\.0; it knows 7\.5, 12\.0"):
        require_capability(Library("tensorrt_rtx", module), "7.0")


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="tensorrt-rtx is not installed; pip install tensorrt-rtx"):
        find_library("tensorrt_rtx")


def test_an_old_tensorrt_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.import_module", lambda name: SimpleNamespace(__version__="8.6.1"))
    with pytest.raises(UserError, match=r"8\.6\.1 is too old"):
        find_library("tensorrt")


def test_tensorrt_builds_for_the_gpu_here_and_for_no_other(monkeypatch):
    monkeypatch.setattr("evaluators.tensorrt.nvml.describe_gpu", lambda: {"compute_capability": "8.6"})
    library = Library("tensorrt", SimpleNamespace(__version__="10.14.1.48"))
    require_own_capability(library, "8.6")
    with pytest.raises(UserError, match=r"is 8\.6, not 7\.5; --library tensorrt_rtx"):
        require_own_capability(library, "7.5")
    require_own_capability(Library("tensorrt_rtx", None), "7.5")
