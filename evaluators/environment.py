"""Where something was measured: machine, versions, load. Plain JSON values."""

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("openvino", "onnxruntime", "tensorrt", "torch", "onnx", "nvidia-modelopt", "numpy")


def environment() -> dict[str, Any]:
    """Machine, versions and the load of this moment; what the engine chose is added by the measurement."""
    return {**_machine(), "load_average": [round(load, 2) for load in os.getloadavg()]}


def physical_cores() -> int:
    """Physical cores this process may use; hyper-threads do not count."""
    usable = len(psutil.Process().cpu_affinity() or []) if hasattr(psutil.Process, "cpu_affinity") else 0
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return max(1, min(physical, usable or physical))


@cache
def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        **_git_state(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any]:
    """The program's commit, and whether its files differ from it; nothing known outside of a clone."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return {"git_commit": None}
    try:
        commit, changes = (
            subprocess.run(
                ["git", "--no-optional-locks", *arguments],
                cwd=root,
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": None}
    return {"git_commit": commit, "git_dirty": bool(changes)}
