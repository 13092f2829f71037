"""Kernels that are forked differ from fresh ones in nothing but what was imported before."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient.exceptions import DeadKernelError
from papermill.execute import execute_notebook

from repro.study import warm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone"),
]

SAYS = """
import json, os, sys
loaded = "torch" in sys.modules
from repro import numerics
assert numerics.hold()
import matplotlib, torch
print(json.dumps({
    "loaded": loaded, "kind": numerics.kind(), "kernels": numerics.kernels(), "path": sys.path,
    "folder": os.getcwd(), "said": os.environ.get("SAID"), "process": os.getpid(),
    "backend": matplotlib.get_backend(), "threads": torch.get_num_threads(),
}))
"""


@pytest.fixture(scope="module")
def kernels() -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # the libraries read it when they are loaded
        with warm.started() as environment:
            yield environment


def told(folder: Path, *cells: str) -> list[str]:
    """Return what the cells of a notebook print, executed by papermill."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, folder / "in.ipynb")
    done = execute_notebook(
        str(folder / "in.ipynb"),
        str(folder / "out.ipynb"),
        kernel_name="python3",
        progress_bar=False,
        cwd=str(folder),
    )
    return ["".join(out["text"] for out in cell["outputs"]) for cell in done.cells]


def use(monkeypatch: pytest.MonkeyPatch, kernels: dict[str, str]) -> None:
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, value in kernels.items():
        monkeypatch.setenv(name, value)


def test_a_forked_kernel_computes_as_a_fresh_one(
    kernels: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAID", "here" * 30_000)  # more than a socket hands over at once
    use(monkeypatch, kernels)
    forked, again = (json.loads(told(tmp_path, SAYS)[0]) for _ in range(2))
    monkeypatch.setenv(warm.SOCKET, str(tmp_path / "nothing"))
    fresh = json.loads(told(tmp_path, SAYS)[0])
    assert (forked.pop("loaded"), fresh.pop("loaded")) == (True, False)
    assert forked.pop("process") != again["process"] != fresh.pop("process")
    assert forked == fresh
    assert forked["kind"] == "portable"
    assert (forked["folder"], forked["said"]) == (str(tmp_path), "here" * 30_000)


def test_a_kernel_that_dies_takes_no_other_with_it(
    kernels: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, kernels)
    with pytest.raises(DeadKernelError):
        told(tmp_path, "import os", "os._exit(3)")
    assert told(tmp_path, "print(1 + 1)") == ["2\n"]


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def children() -> set[int]:
    """Return the processes that this one has started and that are not gone."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(child) for task in tasks for child in task.read_text("ascii").split()}


def test_a_kernel_is_interrupted_and_ends_with_its_manager(
    kernels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, kernels)
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    said: list[str] = []
    client.execute_interactive(
        "import os, time; print(os.getpid())",
        output_hook=lambda message: said.append(message["content"].get("text", "")),
    )
    process = int("".join(said))
    client.execute("print('begun', flush=True); time.sleep(600)")
    while "begun" not in client.get_iopub_msg(timeout=60)["content"].get("text", ""):
        pass
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    # Killed outright, as by the system: its fork goes, too.
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    client.stop_channels()
    deadline = time.monotonic() + 30
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(process)
    manager.shutdown_kernel(now=True)


def test_who_gives_up_while_it_waits_harms_no_other(
    kernels: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, kernels)
    for said in (b"", b"{}\n", b"half of"):
        asking = socket.socket(socket.AF_UNIX)
        asking.connect(kernels[warm.SOCKET])
        if said:
            socket.send_fds(asking, [said], [0, 1, 2])
        asking.close()
    assert json.loads(told(tmp_path, SAYS)[0])["loaded"] is True


def test_without_its_process_the_usual_kernel_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = children()
    with warm.started() as kernels:
        use(monkeypatch, kernels)
        (server,) = children() - before
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel()  # waits for the imports
        os.kill(server, signal.SIGKILL)
        # Nobody had answered it, so it starts a kernel of its own.
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        assert json.loads(told(tmp_path, SAYS)[0])["loaded"] is False
