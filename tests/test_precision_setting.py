"""bfloat16 is used where the hardware has it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from repro import precision


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """What a machine can do is asked anew in each test, and after them."""
    precision.bfloat16_in_hardware.cache_clear()
    yield
    precision.bfloat16_in_hardware.cache_clear()


def capable(monkeypatch: pytest.MonkeyPatch, **capabilities: Any) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_f": True, "amx_bf16": False}, False),
        # Products of vectors alone: no faster than float32 (benchmarks/README.md).
        ({"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "amx_bf16": True}, True),
        ({"architecture": "aarch64", "bf16": True}, True),
        ({}, False),
    ],
)
def test_what_a_processor_can_do_decides(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any], expected: bool
) -> None:
    capable(monkeypatch, **capabilities)
    assert precision.bfloat16_in_hardware("cpu") is expected
    assert precision.effective("bfloat16") == ("bfloat16" if expected else "float32")
    assert precision.effective("float32") == "float32"
    assert precision.effective("float16") == "float16"  # asked for by name, never chosen for speed
    layer = torch.nn.Linear(2, 2)
    for setting in ("bfloat16", "float32"):
        with precision.autocast(setting):
            out = layer(torch.ones(1, 2))
        half = expected and setting == "bfloat16"
        assert out.dtype == (torch.bfloat16 if half else torch.float32)


def test_this_machine_is_asked_through_a_public_function() -> None:
    has = torch.cpu.get_capabilities()
    assert has["architecture"]
    if has["architecture"] == "x86_64":  # a renamed key would read as "no"
        assert "amx_bf16" in has
