"""The instruction set is held, and what is trained then has the bits of another processor."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from repro import numerics

CPUINFO = Path("/proc/cpuinfo")
X86 = platform.machine() in ("x86_64", "AMD64")
on_x86 = pytest.mark.skipif(not X86, reason="the kernels of another architecture are others")

TRAINING = """
import hashlib, torch
from repro.models import image_classifier
torch.set_num_threads(1)
model = image_classifier("resnet18", width=16, initialisation="scratch", seed=0).train()
optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
generator = torch.Generator().manual_seed(1)
images = torch.rand(256, 3, 32, 32, generator=generator)
target = (torch.rand(256, generator=generator) > 0.5).float()
loss_of = torch.nn.functional.binary_cross_entropy_with_logits
def backward(rows):
    loss_of(model(images[rows])[:, 0], target[rows]).backward()
for _ in range(3):  # moves the statistics of the normalisation alone
    backward(slice(64))
    optimiser.zero_grad()
for step in range(60):
    optimiser.zero_grad()
    backward(slice(step % 4 * 64, (step % 4 + 1) * 64))
    optimiser.step()
weights = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
print(hashlib.sha256(weights).hexdigest()[:12], numerics.kind())
"""
#: Measured with torch 2.15.0 on a Xeon with AVX-512 and neither AMX nor bfloat16; so on two others.
ELSEWHERE = "02ea7279a14e"
#: Measured with torch 2.15.0 on a Xeon with AMX; so on an EPYC of the third generation.
KERNELS_ELSEWHERE = {
    "convolution": "c871772caeeb",
    "gradient of a convolution by its input": "3548f5d9a59d",
    "gradient of a convolution by its weights": "dad41caee91b",
    "matrix product": "fc28938eae80",
    "batch normalisation": "d45b9ca2d787",
    "group normalisation": "d8d3235abfe1",
    "activation (SiLU)": "9d39ed66081f",
    "mean over positions": "2385009bcbff",
    "softmax": "773903e1a738",
    "cross-entropy": "50e4b022c99b",
    "singular values": "84fb497ca8c0",
}


def run(code: str) -> list[str]:
    """Return the words that a program prints, run where nothing has been computed yet."""
    environment = {n: v for n, v in os.environ.items() if n not in numerics.HELD}
    done = subprocess.run(
        [sys.executable, "-c", f"from repro import numerics\n{code}"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def of_intel() -> bool:
    """Return whether this is a processor of the maker of those that were compared."""
    return "GenuineIntel" in CPUINFO.read_text("utf-8") if CPUINFO.is_file() else False


@on_x86
def test_what_is_trained_has_the_bits_of_another_processor() -> None:
    orders = ("assert numerics.hold()", "import torch\nassert numerics.hold()")
    before, after = (run(first + TRAINING) for first in orders)  # torch is loaded
    assert before == after
    digest, kind = before
    assert kind == "portable"
    # Another maker's has its own, and the same ones at every call.
    assert not of_intel() or digest == ELSEWHERE


@on_x86
def test_where_torch_has_computed_nothing_is_held_by_half() -> None:
    code = """
import os, torch
torch.ones(100) + torch.ones(100)
before = dict(os.environ)
late = torch.backends.cpu.get_cpu_capability() != "AVX2"
assert numerics.hold() is not late
assert not late or dict(os.environ) == before
print(numerics.kind(), late)
"""
    kind, late = run(code)
    assert kind == ("native" if late == "True" else "portable")


def test_a_graphics_card_and_other_architectures_are_as_they_are() -> None:
    code = """
import platform
numerics.hold()
print(numerics.kind("cuda"))
platform.machine = lambda: "arm64"
print(numerics.hold(), numerics.kind())
"""
    assert run(code) == ["native", "False", "native"]


@on_x86
def test_portable_numbers_are_float32() -> None:
    code = """
assert numerics.hold()
from repro import precision
precision.bfloat16_in_hardware = lambda device: True
print(precision.effective("bfloat16"), precision.effective("bfloat16", "cuda"))
"""
    assert run(code) == ["float32", "bfloat16"]


@on_x86
def test_kernels_are_named_where_they_round_otherwise() -> None:
    code = "import json; print(json.dumps(numerics.kernels()))"
    held = [json.loads(" ".join(run(f"assert numerics.hold(); {code}"))) for _ in range(2)]
    assert held[0] == held[1]
    if torch.__version__.startswith("2.15.0"):
        assert {name: held[0][name] for name in KERNELS_ELSEWHERE} == KERNELS_ELSEWHERE
    if of_intel():  # elsewhere MKL's root is not held
        # The root by another library than MKL, whose own is what differs between processors.
        wide = torch.rand(256, 512, generator=torch.Generator().manual_seed(0)) - 0.5
        roots = np.sqrt((wide + 0.5).numpy())
        assert held[0]["square root"] == hashlib.sha256(roots.tobytes()).hexdigest()[:12]
    code = f"import os; os.environ['MKL_CBWR'] = 'COMPATIBLE'; {code}"
    other = json.loads(" ".join(run(code)))
    moved = {name for name in other if other[name] != held[0][name]}
    assert "matrix product" in moved  # MKL's
    assert not any("convolution" in name for name in moved)  # oneDNN's
