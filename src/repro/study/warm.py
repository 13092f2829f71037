"""Kernels that start with their libraries loaded: one process imports them, each kernel is a fork.

What a notebook imports takes seven seconds of a core, most of it PyTorch, and a sweep starts dozens
of kernels. `started` runs a process that imports it once and computes nothing, so that a fork of it
computes as a fresh kernel does, to the bit. Jupyter is told of it by a kernel specification of the
usual name, ``python3``; where that process cannot be reached (another host, another system), is not
ready in time or is gone, the usual kernel starts instead. Plain papermill knows nothing of it.

What a fork has from that process, and not from who asks for it: what libraries read when they are
loaded (``OMP_NUM_THREADS``, ``PYTHONHASHSEED``). All else of its environment is its own.

This file is also run by its path, without the package and its imports: see `join`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

#: What kernels find imported. None of it computes or starts a thread when it is imported, so that a
#: fork may still choose its numerics (:mod:`repro.numerics`).
LOADED = (
    *("ipykernel.kernelapp", "seaborn", "scipy.stats", "torch._dynamo", "torchvision.models"),
    *("pandas", "pydantic", "yaml", "repro.study.parameters", "repro.study.figures"),
)
#: Names, to whoever starts a kernel, the socket at which forks are asked for.
SOCKET = "REPRO_WARM"
_INLINE = "module://matplotlib_inline.backend_inline"
_PATIENCE = 30  # seconds until who asks takes the usual kernel: papermill waits for 60


@contextmanager
def started() -> Iterator[dict[str, str]]:
    """Have kernels forked while the block runs, and yield the environment that asks for them.

    Where the system has no such means (Linux has), nothing is started and nothing changes.
    """
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # another system, an old one, or a Python built for one
        yield {}
        return
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        at = Path(folder, "socket")
        listener.bind(str(at))
        listener.listen(64)  # who asks before everything is imported waits
        kernel = Path(folder, "kernels", "python3", "kernel.json")
        kernel.parent.mkdir(parents=True)
        argv = [sys.executable, "-S", "-E", str(Path(__file__).absolute()), "{connection_file}"]
        about = {"argv": argv, "display_name": "Python 3", "language": "python"}
        kernel.write_text(json.dumps(about), encoding="utf-8")
        server = subprocess.Popen(
            [sys.executable, "-m", "repro.study.warm", str(listener.fileno())],
            stdin=subprocess.PIPE,  # ends when this process does, however that ends
            pass_fds=[listener.fileno()],
            start_new_session=True,  # an interrupt from the keyboard is for who started it
            env={**os.environ, "MPLBACKEND": _INLINE},
        )
        listener.close()  # if the server goes, who waits for it shall see that
        try:
            yield {"JUPYTER_PATH": folder, SOCKET: str(at)}
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def serve(listener: socket.socket) -> NoReturn:
    """Import what kernels need, then fork one for each that asks, until the input ends."""
    import gc
    import selectors
    from importlib import import_module

    if sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # as ipykernel_launcher: IPython puts it where it belongs
    for name in LOADED:
        import_module(name)
    gc.collect()
    gc.freeze()  # a fork's collector would copy the pages that it visits
    waiting = selectors.DefaultSelector()
    for watched in (sys.stdin, listener):
        waiting.register(watched, selectors.EVENT_READ)
    forks: dict[socket.socket, int] = {}  # who asked -> the process number of its kernel
    ends: dict[int, socket.socket] = {}  # what tells of a fork's end -> who asked
    while True:
        for key, _ in waiting.select():
            if key.fileobj is sys.stdin:
                for fork in forks.values():
                    _end(fork)
                os._exit(0)  # libraries say much about an end that nobody minds
            elif key.fileobj is listener:
                asking, _ = listener.accept()
                # One who is gone, or says nothing, or no memory for it: that one's affair alone.
                try:
                    fork = _forked(asking, [waiting, listener, *forks, *ends])
                except (OSError, ValueError):
                    asking.close()
                    continue
                end = os.pidfd_open(fork)
                forks[asking], ends[end] = fork, asking
                waiting.register(end, selectors.EVENT_READ)
                waiting.register(asking, selectors.EVENT_READ)
            elif isinstance(key.fileobj, socket.socket):  # who asked is gone, or was killed
                if key.fileobj in forks:
                    _end(forks[key.fileobj])
                    waiting.unregister(key.fileobj)
            else:
                asking = ends.pop(key.fd)
                _, status = os.waitpid(forks.pop(asking), 0)
                waiting.unregister(key.fd)
                os.close(key.fd)
                with suppress(KeyError):
                    waiting.unregister(asking)
                with suppress(OSError):
                    asking.send(bytes([os.waitstatus_to_exitcode(status) & 255]))
                asking.close()


def _end(fork: int) -> None:
    """Kill a kernel, which leads a session of its own, and what it has started."""
    with suppress(ProcessLookupError):
        os.kill(fork, signal.SIGKILL)
        os.killpg(fork, signal.SIGKILL)


def _forked(asking: socket.socket, others: list[Any]) -> int:
    """Return the process number of a new kernel, which has the files, environment and folder.

    Parameters
    ----------
    others
        What is open here and none of the kernel's business.
    """
    asking.settimeout(5)
    text, files, _, _ = socket.recv_fds(asking, 1 << 16, 3)
    while not text.endswith(b"\n"):
        text += (more := asking.recv(1 << 16))
        if not more:
            raise ValueError("who asked is gone")
    asking.setblocking(False)
    with suppress(BlockingIOError):
        if not asking.recv(1):
            raise ValueError("who asked has started another kernel meanwhile")
    asked, server = json.loads(text), os.getpid()
    try:
        pid = os.fork()
        if pid:
            with suppress(OSError):
                asking.send(pid.to_bytes(4, "big"))
            return pid
    finally:
        if os.getpid() == server:
            for file in files:
                os.close(file)
    code = 1
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        for other in (asking, *others):
            os.close(other) if isinstance(other, int) else other.close()
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        # A kernel ends when its parent does: of a fork that is the server.
        poll = f"--IPKernelApp.parent_handle={server}"
        sys.argv = ["ipykernel_launcher", "-f", asked["file"], poll]
        from ipykernel import kernelapp

        kernelapp.launch_new_instance()
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def join(file: str) -> NoReturn:
    """Stand for a kernel that is forked elsewhere: hand on signals, and end as it ends."""
    usual = [sys.executable, "-m", "ipykernel_launcher", "-f", file]
    parent = os.getppid()
    environment = {n: v for n, v in os.environ.items() if n != "JPY_PARENT_PID"}
    asked = {"file": file, "folder": str(Path.cwd()), "environment": environment}
    try:
        server = socket.socket(socket.AF_UNIX)
        server.settimeout(_PATIENCE)
        server.connect(os.environ[SOCKET])
        text = json.dumps(asked).encode() + b"\n"
        server.sendall(text[socket.send_fds(server, [text], [0, 1, 2]) :])
        said = server.recv(4)
    except (OSError, KeyError, AttributeError):
        said = b""
    if len(said) < 4:
        os.execv(usual[0], usual)
    pid = int.from_bytes(said, "big")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, _: os.killpg(pid, which))
    server.settimeout(1)
    while True:
        try:
            sys.exit(next(iter(server.recv(1)), 1))
        except TimeoutError:
            if os.getppid() != parent:  # the fork goes with the connection
                sys.exit(1)


if __name__ == "__main__":
    if __spec__ is None:
        join(sys.argv[1])
    serve(socket.socket(fileno=int(sys.argv[1])))
