"""A record says on which processor it was computed, and what that can do."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from repro import machine


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    machine.processor.cache_clear()
    yield
    machine.processor.cache_clear()


def test_the_model_is_that_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "processor\t: 0\nmodel name\t: Made  Up(R) CPU 7 @ 2.0GHz\n\nmodel name\t: other\n"
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert machine.processor() == "Made Up(R) CPU 7 @ 2.0GHz"
    assert machine.describe() == (
        f"Made Up(R) CPU 7 @ 2.0GHz, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}"
    )


def test_a_mac_is_asked_by_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")

    def sysctl(command: list[str], **_: Any) -> Any:
        assert command == ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.CompletedProcess(command, 0, stdout="Apple M9\n")

    monkeypatch.setattr(subprocess, "run", sysctl)
    assert machine.processor() == "Apple M9"


@pytest.mark.parametrize(
    ("capabilities", "processor", "expected"),
    [({"cpu_name": "A CPU"}, "", "A CPU"), ({}, "x", "x"), ({}, "", "odd processor")],
)
def test_there_are_always_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capabilities: dict[str, Any],
    processor: str,
    expected: str,
) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(platform, "system", lambda: "Other")
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: "odd")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert machine.processor() == expected


def test_instruction_sets_are_those_that_the_processor_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has = {"avx2": True, "avx512_bf16": False, "amx_bf16": True, "aes": True, "l1d_cache_size": 1}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has | {"sve": True, "cpu_name": "A"})
    assert machine.instructions() == ["amx_bf16", "avx2", "sve"]


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="Linux tells its flags there")
def test_this_processor_has_what_the_kernel_says() -> None:
    found = re.search(r"^flags\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)
    flags = set(found[1].split()) if found else set()
    for name, flag in (("avx2", "avx2"), ("avx512_f", "avx512f"), ("amx_bf16", "amx_bf16")):
        assert (name in machine.instructions()) <= (flag in flags or not flags)


def test_a_gpu_is_named_beside_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    assert machine.describe("cuda") == f"GPU cuda, beside {machine.describe()}"


@pytest.mark.parametrize("said", ["", "0", "two"])
def test_a_process_may_use_what_openmp_or_the_system_grants(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    if shutil.which("taskset"):
        code = "from repro import machine; print(machine.cores())"
        core = str(min(os.sched_getaffinity(0)))
        command = ["taskset", "-c", core, sys.executable, "-c", code]
        bound = subprocess.run(command, capture_output=True, text=True, check=True)
        assert bound.stdout.strip() == "1"
        granted = os.environ | {"LOKY_MAX_CPU_COUNT": "1"}  # as a container's quota would
        limited = subprocess.run(
            command[3:], capture_output=True, text=True, env=granted, check=True
        )
        assert limited.stdout.strip() == "1"
    assert machine.cores() >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert machine.cores() == 7
