"""Kernels that start with their libraries loaded: one process imports them, each kernel is a fork.

What a notebook imports takes seven seconds of a core, most of it PyTorch, and a sweep starts dozens
of kernels. `started` runs a process that imports it once and computes nothing, so that a fork of it
differs from a fresh kernel in nothing but the time it took. Jupyter is told of it by a kernel
specification of the usual name, ``python3``; where that process cannot be reached (another host,
another system) this one becomes the usual kernel. A notebook does not notice: plain papermill on it
uses the environment's own specification.

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
from typing import NoReturn

#: What kernels find imported. None of it computes when it is imported, so that a fork may still
#: choose its numerics (:mod:`repro.numerics`) and has no threads to lose.
LOADED = (
    *("ipykernel.kernelapp", "seaborn", "scipy.stats", "torch._dynamo", "torchvision.models"),
    *("pyarrow.parquet", "pydantic", "yaml", "repro.study.parameters", "repro.study.figures"),
)
#: Names, to whoever starts a kernel, the socket at which forks are asked for.
SOCKET = "REPRO_WARM"
_INLINE = "module://matplotlib_inline.backend_inline"


@contextmanager
def started() -> Iterator[dict[str, str]]:
    """Have kernels forked while the block runs, and yield the environment that asks for them.

    On another system than Linux nothing is started, and what is yielded changes nothing.
    """
    if sys.platform != "linux":
        yield {}
        return
    with TemporaryDirectory() as folder:
        at = Path(folder, "socket")
        kernel = Path(folder, "kernels", "python3", "kernel.json")
        kernel.parent.mkdir(parents=True)
        argv = [sys.executable, "-S", "-E", str(Path(__file__).absolute()), "{connection_file}"]
        about = {"argv": argv, "display_name": "Python 3", "language": "python"}
        kernel.write_text(json.dumps(about), encoding="utf-8")
        # Its input ends when this process does, however that ends, and it with it.
        server = subprocess.Popen(
            [sys.executable, "-m", "repro.study.warm", str(at)],
            stdin=subprocess.PIPE,
            env={**os.environ, "MPLBACKEND": _INLINE},
        )
        try:
            yield {"JUPYTER_PATH": folder, SOCKET: str(at)}
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def serve(at: str) -> NoReturn:
    """Import what kernels need, then fork one for each that asks, until the input ends."""
    import gc
    import selectors
    from importlib import import_module

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(at)
        listener.listen(64)  # who asks meanwhile waits
        if sys.path[0] in ("", str(Path.cwd())):
            del sys.path[0]  # as ipykernel_launcher: IPython puts it where it belongs
        for name in LOADED:
            import_module(name)
        session = import_module("repro.study.session")
        for profile in session.RECORDED:  # pages show them; a fork reads a file anew if it changed
            session.recorded(profile)
        gc.collect()
        gc.freeze()  # a fork's collector would copy the pages that it visits
        waiting = selectors.DefaultSelector()
        for watched in (sys.stdin, listener):
            waiting.register(watched, selectors.EVENT_READ)
        asked_by: dict[int, socket.socket] = {}  # end of a fork -> who waits for it
        forks: dict[socket.socket, int] = {}
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    for fork in forks.values():
                        _end(fork)
                    sys.stdout.flush()
                    os._exit(0)  # libraries say much about an end that nobody minds
                if key.fileobj is listener:
                    asking, _ = listener.accept()
                    fork = _forked(asking, listener)
                    ended = os.pidfd_open(fork)
                    asked_by[ended], forks[asking] = asking, fork
                    waiting.register(ended, selectors.EVENT_READ)
                    waiting.register(asking, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):  # who asked is gone, or was killed
                    _end(forks[key.fileobj])
                    waiting.unregister(key.fileobj)
                else:
                    asking = asked_by.pop(key.fd)
                    _, status = os.waitpid(forks.pop(asking), 0)
                    waiting.unregister(key.fd)
                    os.close(key.fd)
                    if asking in waiting.get_map():
                        waiting.unregister(asking)
                        asking.send(bytes([os.waitstatus_to_exitcode(status) & 255]))
                    asking.close()


def _end(fork: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(fork, signal.SIGKILL)


def _forked(asking: socket.socket, listener: socket.socket) -> int:
    """Return the process number of a new kernel, which has the files, environment and folder."""
    text, files, _, _ = socket.recv_fds(asking, 1 << 20, 3)
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        asking.send(pid.to_bytes(4, "big"))
        return pid
    asked = json.loads(text)
    os.setsid()
    listener.close()
    asking.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["ipykernel_launcher", "-f", asked["file"], "--IPKernelApp.parent_handle=1"]
    from ipykernel import kernelapp

    code = 1
    try:
        kernelapp.launch_new_instance()
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def join(file: str) -> NoReturn:
    """Stand for a kernel that is forked elsewhere: hand on signals, and end as it ends."""
    try:
        server = socket.socket(socket.AF_UNIX)
        server.connect(os.environ[SOCKET])
    except (OSError, KeyError, AttributeError):
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", file])
    environment = {n: v for n, v in os.environ.items() if n != "JPY_PARENT_PID"}
    asked = {"file": file, "folder": str(Path.cwd()), "environment": environment}
    socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
    pid = int.from_bytes(server.recv(4), "big")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda which, _: os.kill(pid, which))
    sys.exit(next(iter(server.recv(1)), 1))


if __name__ == "__main__":
    (serve if "." in (__spec__.name if __spec__ else "") else join)(sys.argv[1])
