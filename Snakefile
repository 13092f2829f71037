"""The sweep: which notebooks are executed, on which seeds, and what becomes the book.

`make study PROFILE=quick` calls it. Every job is one papermill call on a parameterised notebook:

    sweep      a notebook on some of the seeds, which leaves its runs in runs/
    page       a notebook on all seeds, as the book shows it: its runs are found, not computed
    verdicts   the last notebook, which judges what all others recorded
    book       the pages and the prose, built by Jupyter Book

A notebook that fails is kept in build/PROFILE/failed/, with the error, until the job succeeds; the
other jobs go on, and the next call redoes only that one.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from snakemake.exceptions import WorkflowError

from repro.chapters.aim import synthetic
from repro.study.profiles import load_profile
from repro.study.runs import RecordError
from repro.study.status import expected_seconds
from repro.study.sweep import forecast, sweeps
from repro.study.warm import started

VERDICTS = "90_verdicts"

try:
    PROFILE = load_profile(config.get("profile", "quick"))
except ValueError as error:  # an unknown profile or a setting in it: the message says which
    raise WorkflowError(str(error)) from None

if PROFILE.data.name == "adult":  # once, before jobs side by side would all fetch or miss it
    from repro.data import adult, sources

    try:
        for file in adult.FILES:
            sources.find_file("adult", file)
    except sources.DataError as error:
        raise WorkflowError(str(error)) from None

if IMAGES := PROFILE.image_sets():
    from repro.data.registry import face_set
    from repro.data.sources import DataError

    try:
        for images, edition in IMAGES:
            face_set(images).find(edition)
    except DataError as error:
        raise WorkflowError(str(error)) from None

BUILD = f"build/{PROFILE.name}"
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))
PAGES = [name for name in NOTEBOOKS if name != VERDICTS]

SWEEPS = sweeps(PROFILE, drawn=synthetic.is_there(PROFILE))


def jobs_of(name):
    """The sweep jobs of a notebook; none where its page may as well compute its runs itself."""
    chunks = len(SWEEPS[name].jobs) if name in SWEEPS else 1
    return [f"{BUILD}/jobs/{name}/{chunk}.ipynb" for chunk in range(chunks)] if chunks > 1 else []


def before(name):
    """What must have run before a notebook: those that it builds on, by their jobs or pages."""
    return [
        path
        for other in (SWEEPS[name].after if name in SWEEPS else ())
        if other in NOTEBOOKS
        for path in (jobs_of(other) or [f"{BUILD}/pages/{other}.ipynb"])
    ]


SOURCES = sorted(map(str, [*Path("src/repro").rglob("*.py"), *Path("profiles").glob("*.yaml")]))
RECORDED = sorted(map(str, Path("book/recorded").glob("*.parquet")))
PROSE = sorted(str(path) for path in Path("book").rglob("*") if path.is_file())

# What every job inherits.
os.environ.update(
    # Two jobs run side by side, and sums come out alike whatever the number of cores.
    OMP_NUM_THREADS="1",
    # This environment's commands and its own kernel, whatever else the machine has.
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    JUPYTER_PREFER_ENV_PATH="1",
    JUPYTER_PATH="",
    IPYTHONDIR=str(Path("build/.ipython").absolute()),  # without the user's start-up files
)

# What the cells print is seen while they run; papermill's own chatter is not. The number of the
# process keeps a job apart from one that outlived a killed sweep.
EXECUTE = """
    mkdir -p {BUILD}/running {BUILD}/failed
    running={BUILD}/running/$$-$(basename {params.failed})
    papermill {input.notebook} $running -k python3 --log-output --no-progress-bar \
        -p profile {PROFILE.name} -y '{{seeds: {params.seeds}}}' 2>&1 \
    | {{ grep --line-buffered -vE '{CHATTER}' || true; }} \
    || {{ mv $running {params.failed}; exit 1; }}
    mv $running {output}
    rm -f {params.failed}
"""
CHATTER = (
    r"^\s*$|^<.*>$|^(Executing|Ending) Cell|^Executing notebook|^(In|Out)put Notebook"
    r"|without encryption"
)


wildcard_constraints:
    name="|".join(NOTEBOOKS),
    chunk=r"\d+",


localrules:
    book,


rule sweep:
    message: "{wildcards.name}: seeds {params.seeds}"
    input:
        SOURCES,
        lambda wildcards: before(wildcards.name),
        notebook="notebooks/{name}.ipynb",
    output: f"{BUILD}/jobs/{{name}}/{{chunk}}.ipynb"
    params:
        seeds=lambda wildcards: str(list(SWEEPS[wildcards.name].jobs[int(wildcards.chunk)])),
        failed=f"{BUILD}/failed/{{name}}-{{chunk}}.ipynb",
    shell: EXECUTE


rule page:
    message: "{wildcards.name}: the page, all seeds"
    input:
        SOURCES,
        RECORDED,
        lambda wildcards: before(wildcards.name) + jobs_of(wildcards.name),
        notebook="notebooks/{name}.ipynb",
    output: f"{BUILD}/pages/{{name}}.ipynb"
    params:
        seeds="null",  # those of the profile
        failed=f"{BUILD}/failed/{{name}}.ipynb",
    shell: EXECUTE


rule verdicts:
    message: f"{VERDICTS}: judging what was recorded"
    input:
        SOURCES,
        RECORDED,
        [f"{BUILD}/pages/{name}.ipynb" for name in PAGES],
        notebook=f"notebooks/{VERDICTS}.ipynb",
    output: f"{BUILD}/pages/{VERDICTS}.ipynb"
    params:
        seeds="null",
        failed=f"{BUILD}/failed/{VERDICTS}.ipynb",
    shell: EXECUTE


ruleorder: verdicts > page


rule book:
    message: "the book"
    input:
        SOURCES,
        PROSE,
        "_config.yml",
        "_toc.yml",
        [f"{BUILD}/pages/{name}.ipynb" for name in NOTEBOOKS],
    output: f"{BUILD}/book/index.html"
    shell: "python -m repro.book {PROFILE.name}"


# Kernels fork from a process that has imported what they need; jobs on other hosts start their own.
KERNELS = ExitStack()


onstart:
    os.environ.update(KERNELS.enter_context(started()))
    try:
        print(f"{PROFILE.name}: {forecast(PROFILE, SWEEPS, expected_seconds(PROFILE))}", file=sys.stderr)
    except RecordError as error:  # the job that needs it says so, too; the others go on
        print(f"{PROFILE.name}: {error}", file=sys.stderr)


onsuccess:
    KERNELS.close()


onerror:
    KERNELS.close()
    for path in sorted(Path(BUILD, "failed").glob("*.ipynb")):
        print(f"FAILED: {path} shows the error", file=sys.stderr)
