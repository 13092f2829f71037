"""The same numbers on other x86-64 processors: the instruction set held at what they share.

Libraries choose their kernels by what a processor has, and kernels sum in different orders: what is
trained with AVX-512 differs from what is trained without. Held at AVX2 (2013) and on one thread,
float32 came out alike to the bit on three Xeons, at 0.7 to 0.9 of the speed. On an EPYC most of
the kernels measured did, but not what they train (``benchmarks/README.md``); :func:`kernels`
names those that can be told. Profiles ask for portable numbers by ``numbers: portable``; what a
run was computed in, and on which processor, stands in its record.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from typing import TYPE_CHECKING

from repro.machine import threads

if TYPE_CHECKING:
    import torch

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


def kernels() -> dict[str, str]:
    """Digest what each kind of kernel makes of fixed inputs, in this process as it is.

    Two processes whose digests agree train alike, as far as these kernels go; where one does not,
    its name says which part of the library rounds otherwise.

    Returns
    -------
    dict
        Name of a kernel -> the first 12 hexadecimal digits of the SHA-256 of its float32 results.
    """
    import torch
    from torch.nn import functional as f

    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) - 0.5

    with threads(1):  # as in runs: more threads sum in another order
        wide, query, key, value = rand(256, 512), *(rand(4, 64, 32) for _ in range(3))
        images, filters, deeper = rand(64, 3, 32, 32), rand(16, 3, 3, 3), rand(32, 16, 3, 3)
        inner = f.conv2d(images, filters, padding=1)
        deep = _convolved(inner, deeper, 1)
        rows = (wide @ wide.T).sub_(20)
        # Those of ResNet's other layers, for which oneDNN has other kernels: some fit the caches.
        by_layer = {
            layer: _convolved(rand(64, width, size, size), rand(2 * width, width, k, k), stride)
            for layer, width, size, k, stride in (
                ("strided convolution", 32, 16, 3, 2),
                ("convolution of points", 32, 16, 1, 2),
                ("convolution of small maps", 64, 4, 3, 1),
            )
        }
        made = {
            "convolution": inner,
            "gradient of a convolution by its input": deep[_BY_INPUT],
            "gradient of a convolution by its weights": deep[_BY_WEIGHTS],
            "matrix product": rows,
            "batch normalisation": f.batch_norm(inner, None, None, training=True),
            "group normalisation": f.group_norm(inner, 4),
            "activation (SiLU)": f.silu(inner),
            "mean over positions": inner.mean((2, 3)),
            "softmax": rows.softmax(1),
            "cross-entropy": f.binary_cross_entropy_with_logits(
                rows, (rows > 0).float(), reduction="none"
            ),
            "attention": f.scaled_dot_product_attention(query, key, value),
            "square root": (wide + 0.5).sqrt(),
            "singular values": torch.linalg.svdvals(wide.double()).float(),
            **{f"{layer}{of}": v for layer, three in by_layer.items() for of, v in three.items()},
        }
    return {
        name: hashlib.sha256(values.detach().contiguous().numpy().tobytes()).hexdigest()[:12]
        for name, values in made.items()
    }


_BY_INPUT, _BY_WEIGHTS = ": gradient by its input", ": gradient by its weights"


def _convolved(images: torch.Tensor, filters: torch.Tensor, stride: int) -> dict[str, torch.Tensor]:
    """Return a convolution and its two gradients, those of the mean of squares."""
    from torch.nn import functional as f

    into, by = images.detach().requires_grad_(), filters.detach().requires_grad_()
    out = f.conv2d(into, by, stride=stride, padding=filters.shape[-1] // 2)
    out.square().mean().backward()  # type: ignore[no-untyped-call]
    assert into.grad is not None
    assert by.grad is not None
    return {"": out, _BY_INPUT: into.grad, _BY_WEIGHTS: by.grad}
