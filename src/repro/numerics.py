"""The same numbers on other x86-64 processors: the instruction set held at what they share.

Libraries choose their kernels by what a processor has, and kernels sum in different orders: what is
trained with AVX-512 differs from what is trained without. Held at AVX2 (2013) and on one thread,
float32 came out alike to the bit on the two processors that were compared, at 0.7 to 0.9 of the
speed (``benchmarks/README.md``). Profiles ask for it by ``numbers: portable``; what a run was
computed in stands in its record.
"""

from __future__ import annotations

import os
import platform
import sys

#: Read by oneDNN, PyTorch and MKL at their first operation, not when they are loaded.
HELD = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"}
PORTABLE, NATIVE = "portable", "native"
_X86 = ("x86_64", "AMD64")


def hold() -> bool:
    """Hold the instruction set of this process and its children at AVX2, if it is not too late.

    Returns
    -------
    bool
        Whether it is held. Not on another architecture, nor where PyTorch has computed before:
        then nothing is changed, for half of the libraries held would be neither of the two.
    """
    if platform.machine() not in _X86:
        return False
    before = {name: os.environ.get(name) for name in HELD}
    os.environ.update(HELD)
    if held():
        return True
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return False


def held() -> bool:
    """Return whether the instruction set of this process is held at AVX2."""
    if platform.machine() not in _X86 or any(os.environ.get(n) != v for n, v in HELD.items()):
        return False
    if "torch" not in sys.modules:
        return True  # it will read them
    import torch

    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def kind(device: str = "cpu") -> str:
    """Return what numbers computed on a device are: ``"portable"`` or ``"native"``."""
    return PORTABLE if device == "cpu" and held() else NATIVE
