"""What a machine is, as a record says it: its processor, what that can do, its system."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
#: what bears on how numbers are computed begins so, in the words of `torch.cpu.get_capabilities`
_NUMERIC = ("amx", "avx", "fma", "f16c", "sve", "sme", "neon", "bf16", "fp16", "i8mm", "dot", "vsx")


@cache
def processor() -> str:
    """Return the processor's model, as far as the system tells it."""
    try:
        found = re.search(r"^model name\s*:\s*(\S.*)$", _CPUINFO.read_text("utf-8"), re.M)
    except (OSError, UnicodeDecodeError):
        found = None
    if found:
        return " ".join(found[1].split())
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
            return said.stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    named = str(_capabilities().get("cpu_name") or platform.processor())
    return named or f"{platform.machine()} processor"


def instructions() -> list[str]:
    """Return the instruction sets of the processor that bear on numbers, by name."""
    has = _capabilities()
    return sorted(
        name for name, value in has.items() if value is True and name.startswith(_NUMERIC)
    )


def _capabilities() -> dict[str, object]:
    import torch  # here: who reads a record needs none of it

    return dict(torch.cpu.get_capabilities())


def describe(device: str = "cpu") -> str:
    """Return a machine in words: a GPU where it is the ``device``, processor, cores, system."""
    import torch

    words = f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    if torch.device(device).type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, beside {words}"
    return words


def cores() -> int:
    """Return how many cores this process may use: ``OMP_NUM_THREADS`` of them, where that is set.

    The sweep sets it to 1, as its jobs run side by side. Else affinity and a container's quota
    count.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    from joblib import cpu_count  # here: who reads a record needs none of it

    return int(cpu_count())


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch compute on so many threads, and afterwards on as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
