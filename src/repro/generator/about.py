"""What a generator of this project says of itself, read without loading it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ABOUT = "generator.json"
"""Name of the file beside the weights with defaults of drawing, settings and losses."""


def about_folder(folder: Path) -> dict[str, Any]:
    """Return what `ABOUT` says of a generator that was trained by this project."""
    loaded: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return loaded
