"""Which of NVIDIA's compilers is installed, and for which compute capabilities it still builds.

`tensorrt` measures on the GPU of this machine. `tensorrt_rtx` has the same Python interface and compiles without
any GPU, so it serves as a check of what NVIDIA's compiler accepts.
"""

import importlib
import importlib.util
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from foundation.errors import UserError

TENSORRT, TENSORRT_RTX = "tensorrt", "tensorrt_rtx"
T4 = "7.5"
_OLDEST = (10, 0)  # strongly typed networks with FP16 Q/DQ scales
# Releases documented to build for a compute capability. 7.5: NVIDIA's support matrices of 10.0 to 10.16 list Turing
# (Volta, 7.0, left with 10.5), and the default architectures of TensorRT 11.1's own sources begin with 75
# (github.com/NVIDIA/TensorRT, CMakeLists.txt, v11.1). Nothing public says so for later ones, so their files decide.
_DOCUMENTED = {T4: ((10, 0), (11, 1))}
_INSTALL = {
    TENSORRT: "pip install 'yolov6-search[tensorrt]'",
    TENSORRT_RTX: "pip install tensorrt-rtx",
}
_RESOURCE = re.compile(
    r"(?:nv|tensorrt.*)infer_builder_resource_(?:win_)?sm_?(\d+)|builder_resource_sm_?(\d+)"
)


@dataclass(frozen=True)
class Library:
    """An installed compiler.

    Attributes:
        name: `tensorrt` or `tensorrt_rtx`, also the name of the Python module.
        module: that module.
    """

    name: str
    module: Any

    @property
    def version(self) -> str:
        """Such as 10.14.1.48."""
        return str(self.module.__version__)

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor."""
        major, minor, *_ = (int(part) for part in self.version.split("."))
        return major, minor

    @property
    def builds_without_gpu(self) -> bool:
        """Whether it compiles for a compute capability that is not here."""
        return self.name == TENSORRT_RTX

    @cached_property
    def packed_architectures(self) -> frozenset[str]:
        """Compute capabilities its installed kernels are for; empty when they are not packed by architecture."""
        folders = [Path(folder) for folder in _package_folders(self.name)]
        return packed_architectures(
            file.name for folder in folders for file in folder.glob("*builder_resource*")
        )


def packed_architectures(names: Any) -> frozenset[str]:
    """Compute capabilities in the names of kernel libraries, such as `libnvinfer_builder_resource_sm75.so.10`."""
    found = (_RESOURCE.search(name) for name in names)
    digits = (match.group(1) or match.group(2) for match in found if match)
    return frozenset(f"{number[:-1]}.{number[-1]}" for number in digits)


def find_library(name: str) -> Library:
    """The installed compiler of that name.

    Raises:
        UserError: it is not installed, does not load, or is older than 10.0; says how to get it.
    """
    if importlib.util.find_spec(name) is None:
        raise UserError(f"the package {name.replace('_', '-')} is not installed; {_INSTALL[name]}")
    try:
        library = Library(name, importlib.import_module(name))
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"{name} is installed but does not load ({error}); {_INSTALL[name]}") from None
    if name == TENSORRT and library.release < _OLDEST:
        raise UserError(f"TensorRT {library.version} is too old: 10.0 or newer is needed; {_INSTALL[name]}")
    return library


def require_capability(library: Library, capability: str) -> None:
    """Raises UserError when this release does not build for the compute capability, with one that does."""
    if library.name == TENSORRT_RTX:
        known = _rtx_capabilities(library)
        if capability not in known:
            raise UserError(
                f"TensorRT-RTX {library.version} does not build for compute capability {capability}; "
                f"it knows {', '.join(sorted(known, key=float))}"
            )
        return
    packed = library.packed_architectures
    if packed:
        builds = capability in packed
    else:
        first, last = _DOCUMENTED.get(capability, (_OLDEST, (99, 99)))
        builds = first <= library.release <= last
    if not builds:
        first, last = _DOCUMENTED.get(capability, (_OLDEST, _OLDEST))
        advice = (
            f"install one from {_dotted(first)} to {_dotted(last)}: "
            f"pip install 'tensorrt>={_dotted(first)},<{last[0]}.{last[1] + 1}'"
        )
        raise UserError(
            f"TensorRT {library.version} is not known to build for compute capability {capability}"
            f"{' (Tesla T4)' if capability == T4 else ''}; {advice if capability in _DOCUMENTED else 'choose another'}"
        )


def require_own_capability(library: Library, capability: str) -> None:
    """Raises UserError when the library builds for the GPU here only, and that has another compute capability."""
    from evaluators.tensorrt.nvml import describe_gpu

    if library.builds_without_gpu:
        return
    here = describe_gpu().get("compute_capability", "unknown")
    if here != capability:
        raise UserError(
            f"TensorRT builds for the GPU here, whose compute capability is {here}, not {capability}; "
            "--library tensorrt_rtx compiles for others"
        )


def _rtx_capabilities(library: Library) -> set[str]:
    names = (name for name in dir(library.module.ComputeCapability) if re.fullmatch(r"SM\d+", name))
    return {f"{name[2:-1]}.{name[-1]}" for name in names}


def _dotted(release: tuple[int, int]) -> str:
    return f"{release[0]}.{release[1]}"


def _package_folders(name: str) -> list[str]:
    """Folders that hold the shared libraries of a package of that name."""
    folders: list[str] = []
    for package in (f"{name}_libs", name):
        spec = importlib.util.find_spec(package)
        folders += list(spec.submodule_search_locations or []) if spec else []
    return folders
