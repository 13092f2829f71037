from __future__ import annotations
from dataclasses import dataclass, replace
import torch
from repro.data.toyfaces_factors import draw_factors
from repro.data import toyfaces_domains as D


@dataclass(frozen=True)
class ToyFaces:
    n: int = 20000
    seed: int = 0
    size: int = 64
    domain: str = "camera"
    smile_strength: float = 1.0
    gender_strength: float = 1.0
    domain_gap: float = 1.0
    clutter: float = 1.0
    noise: float = 1.0


def render(factors, settings):
    gap = 0.0 if settings.domain == "camera" else settings.domain_gap
    (l0, o0), (l1, o1) = D.CAMERA, D.STUDIO
    o0 = replace(o0, clutter=o0.clutter * settings.clutter, noise=o0.noise * settings.noise)
    look = D.between(l0, l1, gap)
    optics = D.between(o0, o1, gap)
    look = replace(
        look,
        smile=look.smile * settings.smile_strength,
        gender=look.gender * settings.gender_strength,
    )
    out = torch.empty(len(factors), 3, settings.size, settings.size, dtype=torch.uint8)
    for i in range(0, len(factors), 16):
        out[i : i + 16] = D.draw(factors.iloc[i : i + 16], settings.size, look, optics)
    return out
