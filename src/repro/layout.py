"""How the images and weights of a convolutional network lie in memory.

Classifiers train channels last. In that layout PyTorch 2.15's backward pass ended the process, with
signs of memory written past its end, for a ResNet-18 whose first layer is 2 to 6 channels wide, on
one thread of an x86 CPU with AVX2 and without AVX-512; with 7 and more, or channels first, it did
not. Networks with a convolution of fewer than eight output channels therefore stay channels first.
Every size that a profile names is wider.
"""

from __future__ import annotations

import torch
from torch import nn

#: output channels that every convolution must have to lie channels last: 7 is the least that was
#: seen to work, 8 the next that fills a vector
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
