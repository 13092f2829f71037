"""Time a page whose runs are there, its kernel started as usual, and forked from one process.

`python benchmarks/kernels.py --notebook 30_layer_freezing --repeats 3`; the two take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from repro.study.profiles import project_root
from repro.study.warm import started


def main() -> None:
    """Take turns, and print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--notebook", default="30_layer_freezing")
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    notebook = project_root() / "notebooks" / f"{asked.notebook}.ipynb"

    with TemporaryDirectory() as folder, started() as forked:
        out = Path(folder, "out.ipynb")
        words = ["-k", "python3", "--no-progress-bar", "-p", "profile", asked.profile]

        def seconds(environment: dict[str, str]) -> float:
            start = time.perf_counter()
            command = [sys.executable, "-m", "papermill", str(notebook), str(out), *words]
            subprocess.run(
                command, env={**os.environ, **environment}, check=True, capture_output=True
            )
            return time.perf_counter() - start

        print(f"first of all, what is not there is computed: {seconds({}):.1f} s")
        print(f"first fork, its imports begun meanwhile: {seconds(forked):.1f} s")
        times: dict[str, list[float]] = {"usual": [], "forked": []}
        for _ in range(asked.repeats):
            times["usual"].append(seconds({}))
            times["forked"].append(seconds(forked))
        middle = {name: statistics.median(values) for name, values in times.items()}
        for name, values in times.items():
            print(f"{name}: median {middle[name]:.1f} s ({min(values):.1f}-{max(values):.1f})")
        print(f"ratio {middle['usual'] / middle['forked']:.2f}")


if __name__ == "__main__":
    main()
