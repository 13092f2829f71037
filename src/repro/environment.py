"""The conda environment (``environment.yml``, which Binder reads too), written from the lock.

``python -m repro.environment`` rewrites the file; ``make lock`` calls it.
"""

from __future__ import annotations

import re

import yaml

from repro.study.profiles import project_root

_PIN = re.compile(
    r"^(?P<pin>[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]+\])?==[^\s;]+)(?: ; (?P<marker>[^\\]+?))? *\\?$"
)
_HEADER = """\
# Written from requirements.lock by `make lock`; do not edit.
# The same versions as the lock, without its hashes: pip refuses `-e .` beside hashes.
"""


def pins(lock_text: str) -> list[str]:
    """Return the requirements of a lock, ``name==version`` with its marker, without hashes.

    Raises
    ------
    ValueError
        If a line is neither a pinned requirement, a hash nor a comment.
    """
    found = []
    for line in lock_text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", "--hash=")):
            continue
        match = _PIN.match(line)
        if match is None:
            raise ValueError(f"requirements.lock holds a line that pins nothing: {line!r}")
        marker = match["marker"]
        found.append(f"{match['pin']} ; {marker}" if marker else match["pin"])
    return found


def environment_yaml(lock_text: str) -> str:
    """Return the text of ``environment.yml`` for the text of ``requirements.lock``."""
    environment = {
        "name": "repro",
        "channels": ["conda-forge", "nodefaults"],
        "dependencies": ["python=3.11", "pip", {"pip": [*pins(lock_text), "-e ."]}],
    }
    # A long marker stays on its line.
    return _HEADER + yaml.safe_dump(environment, sort_keys=False, width=10_000)


def main() -> None:
    """Rewrite ``environment.yml`` from ``requirements.lock``."""
    root = project_root()
    lock_text = (root / "requirements.lock").read_text(encoding="utf-8")
    (root / "environment.yml").write_text(environment_yaml(lock_text), encoding="utf-8")


if __name__ == "__main__":
    main()
