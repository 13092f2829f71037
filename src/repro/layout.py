"""How the images and weights of a convolutional network lie in memory.

Channels last is faster on every device that was measured (``benchmarks/README.md``). On x86 CPUs
without AVX-512, PyTorch 2.15's backward pass through convolutions of fewer than eight channels
writes past its memory in that layout, and ends the process later on; such networks, which only
tests use, stay channels first.
"""

from __future__ import annotations

import torch
from torch import nn

#: output channels of the narrowest convolution from which on channels last is safe on any CPU
NARROWEST = 8


def layout_of(model: nn.Module) -> torch.memory_format:
    """Return the layout for a model's weights and for the images (n, c, h, w) that it is given."""
    widths = [part.out_channels for part in model.modules() if isinstance(part, nn.Conv2d)]
    narrow = min(widths, default=NARROWEST) < NARROWEST
    return torch.contiguous_format if narrow else torch.channels_last


def place(model: nn.Module, device: str = "cpu") -> nn.Module:
    """Move a model to a device and lay its weights out; return it."""
    model.to(device, memory_format=layout_of(model))  # type: ignore[call-overload]
    return model
