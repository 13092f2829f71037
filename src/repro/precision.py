"""bfloat16 where the hardware multiplies matrices of it, float32 elsewhere.

Where a processor has no instructions for it, bfloat16 is emulated, at a tenth of float32's speed.
Where an x86 processor has AVX-512's alone (products of vectors, not of matrices as AMX has them),
it is no faster, and what is rounded is lost for nothing (``benchmarks/README.md``). A setting of
``"bfloat16"`` therefore allows it and does not force it; the record of a run says which of the two
it was. Portable numbers (`repro.numerics`) are float32.
"""

from __future__ import annotations

from functools import cache

import torch

from repro import numerics

#: capabilities of a CPU with which bfloat16 is faster than float32: of x86, of ARM
_INSTRUCTIONS = ("amx_bf16", "bf16", "sve_bf16")


@cache
def bfloat16_in_hardware(device: str = "cpu") -> bool:
    """Return whether a device (``cpu``, ``cuda``, ``cuda:1``) is faster in bfloat16."""
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if kind == "cpu":
        has = torch.cpu.get_capabilities()
        return any(bool(has.get(name)) for name in _INSTRUCTIONS)
    return False


def effective(precision: str, device: str = "cpu") -> str:
    """Return what a setting comes to on a device: ``"bfloat16"`` may become ``"float32"``."""
    if precision == "bfloat16" and (
        numerics.kind(device) == numerics.PORTABLE or not bfloat16_in_hardware(device)
    ):
        return "float32"
    return precision


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """Return the context of a forward pass; weights, losses and gradients stay float32."""
    half = effective(precision, device) == "bfloat16"
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half)
