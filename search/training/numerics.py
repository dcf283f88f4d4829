"""Devices, number formats and compilation of training."""

import importlib.util
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import nn

OLDEST_COMPILED = (7, 0)  # compute capability that Triton generates code for
C_COMPILERS = ("cc", "gcc", "clang")  # Triton builds its launchers with one of these, or with $CC


def training_device() -> torch.device:
    """The GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_type(amp: str, device: torch.device) -> torch.dtype:
    """Number format of the network's forward and backward pass for an `amp` mode (see `TrainingOptions`)."""
    if amp != "auto":
        return {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    abilities = torch.cpu.get_capabilities()
    native = abilities.get("avx512_bf16") or abilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Automatic mixed precision in `dtype`; nothing for float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels-last on a GPU, where tensor cores want it; contiguous on a CPU.

    On a CPU PyTorch 2.13 writes past a buffer in the backward pass of a 1x1 convolution of stride 2 with
    three channels-last input channels (RepVGG's stem): the process dies with a corrupted heap.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def compile_refusal() -> str:
    """Why `torch.compile` is of no use to training here; empty when it may be."""
    if not torch.cuda.is_available():
        return "it is for NVIDIA GPUs, and there is none here"
    if torch.cuda.get_device_capability() < OLDEST_COMPILED:
        return "it needs a GPU of compute capability 7.0 or newer"
    if importlib.util.find_spec("triton") is None:
        return "it needs the triton package (pip install triton)"
    if not os.environ.get("CC") and not any(map(shutil.which, C_COMPILERS)):
        return "it needs a C compiler (on Debian: apt-get install gcc)"
    return ""


def compiled(network: nn.Module) -> nn.Module:
    """`network` through `torch.compile`; parts that fail to compile run as they are, and torch warns of them."""
    torch._dynamo.config.suppress_errors = True
    return cast(nn.Module, torch.compile(network))
