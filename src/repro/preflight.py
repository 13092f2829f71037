"""What this machine can run, and why not: data, weights, device, keys, for every profile."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from repro.data import adult
from repro.data.registry import face_set
from repro.data.sources import DataError, data_root, find_file
from repro.study.profiles import load_profile, profile_names, project_root
from repro.study.records import recorded
from repro.study.runs import RecordError, Runs


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: is it there, and what is to be said of it."""

    what: str
    fine: bool
    says: str


def adult_check() -> Check:
    """Look for the two original files of UCI Adult, without downloading."""
    what = "data: UCI Adult"
    absent = [f.name for f in adult.FILES if not (data_root() / "adult" / f.name).is_file()]
    if absent:
        says = (
            f"{' and '.join(absent)} not in {data_root() / 'adult'}; 'make study PROFILE=desk' "
            f"tries to download them, or fetch them from {adult.FILES[0].page} and put them there"
        )
        if (data_root() / absent[0]).is_file():
            says += "; REPRO_DATA is to name the folder above adult/"
        return Check(what, False, says)
    try:
        for file in adult.FILES:
            find_file("adult", file, download=False)
    except DataError as error:
        return Check(what, False, str(error))
    return Check(what, True, "both files found, sha256 as published")


def runs_check() -> Check:
    """Say where runs go, how many are there, and how much room is left."""
    runs = Runs()
    existing = runs.root
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / 2**30
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    try:
        says = f"{len(runs.records())} finished runs, {free:.0f} GiB free"
    except RecordError as error:
        return Check("runs", False, str(error))
    if not writable:
        says = f"{existing} is not writable; set REPRO_RUNS to a folder that is"
    return Check("runs", writable and free > 0.2, says)


def profile_check(name: str, data: Check) -> Check:
    """Say whether a profile can run here."""
    profile = load_profile(name)
    what = f"profile {name}"
    needs = ["UCI Adult, see above"] if profile.data.name == "adult" and not data.fine else []
    for images, edition in profile.image_sets():
        try:
            face_set(images).find(edition)
        except DataError as error:
            needs.append(f"faces: {error}")
    if needs:
        read = len(dict(recorded(name)))
        known = f"; its {read} recorded runs can be read" if read else ""
        return Check(what, False, f"needs {'; '.join(needs)}{known}")
    return Check(what, True, f"can run: {profile.description}, {len(profile.seeds)} seed(s)")


def preflight() -> list[Check]:
    """Return every check; profiles last."""
    import torch

    data = adult_check()
    where = "REPRO_DATA" if os.environ.get("REPRO_DATA") else "the default of REPRO_DATA"
    names = profile_names()
    fetched = [n for n in names if load_profile(n).faces.initialisation == "imagenet"]
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    # Whether a language model can be asked; never what the key is.
    key = "set" if os.environ.get("OPENAI_API_KEY") else "not set (nothing in this study needs it)"
    return [
        Check("project", True, f"{project_root().name}/, data folder {data_root()} ({where})"),
        data,
        Check(
            "weights",
            True,
            f"ImageNet weights of torchvision are fetched for profile {', '.join(fetched)}; the "
            "others train from scratch",
        ),
        Check("device", True, f"{device}, {os.cpu_count()} cores, torch {torch.__version__}"),
        Check("key: OPENAI_API_KEY", True, key),
        runs_check(),
        *(profile_check(name, data) for name in names),
    ]
