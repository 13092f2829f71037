"""What the tests of the study share: a tiny project with all of its runs, and made-up records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from click.testing import Result
from matplotlib.figure import Figure
from torch import nn
from typer.testing import CliRunner

from repro import cli, numerics
from repro.chapters.aim import plans as aim_plans
from repro.chapters.aim import selection_rules, selective_mask
from repro.chapters.win import bias_returns, group_weight, plans, weight_importance
from repro.data import sources
from repro.faces import Faces
from repro.study import experiments, figures
from repro.study.profiles import Profile, load_profile, project_root
from repro.study.records import Results
from repro.study.runs import Record, Runs
from repro.study.session import Study

TINY = """\
description: for tests
seeds: [0, 1, 2]
seeds_per_job: 3
data: {name: toycensus, records: 3000}
win:
  pretrain: {learning_rates: [0.02], epochs: 2, batch_size: 128}
  finetune: {learning_rates: [0.02], epochs: 1, batch_size: 128}
  constraints: [dp]
  intensities: [0.5]
  architectures: [mlp-3]
  ranks: [1, 2]
  weights: [0.5, 0.9]
  permutations: 19
  faces:
    bias_ratio: 0.5
    pretrain: {learning_rates: [0.02], epochs: 1, batch_size: 128}
    finetune: {learning_rates: [0.02], epochs: 1, batch_size: 64}
    label_ranks: [1, 15]
    control_rank: 3
faces:
  data: {name: toyfaces, size: 32, total: 160}
  synthetic: {source: studio, total: 160, pool: 100}
  width: 4
  initialisation: scratch
  pretrain: {learning_rate: 0.05, epochs: 1, milestones: [], batch_size: 32}
  finetune: {learning_rate: 0.05, epochs: 1, milestones: [], batch_size: 32}
  controls: [random, random parameters, importance mask, batchnorm affine, batchnorm statistics]
  k: 40
  ks: [34, 62]
  blocks: [layer4, fc]
  random_draws: 1
  fractions: [1.0, 0.5]
  gradient_batches: 2
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests: one that comes last leaves a core idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # stable: the order stays otherwise


@pytest.fixture(autouse=True)
def not_held() -> Iterator[None]:
    """A test that holds this process's numbers leaves others theirs; without AVX-512 it can."""
    before = {name: os.environ.get(name) for name in numerics.HELD}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def toy() -> Profile:
    """Return the profile of embedded data."""
    return load_profile("toy")


@pytest.fixture(scope="session")
def desk() -> Profile:
    """Return the profile of real data."""
    return load_profile("desk")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep images in a folder of this session, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("REPRO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project folder with the study's profiles and one more, ``tiny``."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(project_root() / "profiles", root / "profiles")
    # The profiles of the study name its own generators.
    (root / "models").symlink_to(project_root() / "models", target_is_directory=True)
    (root / "profiles" / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Computed:
    """The profile ``tiny``, its folder of runs and its records by the keys of each plan."""

    profile: Profile
    runs: Runs
    strategies: Results  # Figure 4 and Table 3
    tuned: Results  # Table 2
    probes: Results
    weights: Results
    table_3: Results  # of AIM-Fair
    rules: Results  # its Table 4
    masks: Results  # sensitivities
    everything: Results


@pytest.fixture(scope="session")
def computed(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Computed:
    """Compute everything of profile ``tiny``, once; tests only read it.

    Workers that run tests side by side share one folder of runs and begin at either end of the
    plan, so that each finds what the other has computed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_ROOT", str(tiny_root))
        profile = load_profile("tiny")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    shared = tmp_path_factory.getbasetemp().parent / "computed"
    study = Study(profile, runs=Runs(shared if worker else tmp_path_factory.mktemp("runs")))
    plan = experiments.everything(profile)
    study.compute(dict(reversed(plan.items())) if worker == "gw1" else plan)
    every = study.compute(plan)
    return Computed(
        profile,
        study.runs,
        study.compute(plans.against_retraining(profile, profile.seeds)),
        study.compute(bias_returns.fair_then_tuned(profile, profile.seeds)),
        study.compute(weight_importance.probes(profile, profile.seeds)),
        study.compute(group_weight.group_weights(profile, profile.seeds)),
        study.compute(aim_plans.strategies(profile, profile.seeds)),
        study.compute(selection_rules.selection_rules(profile, profile.seeds)),
        study.compute(selective_mask.sensitivities(profile, profile.seeds)),
        every,
    )


@pytest.fixture
def tiny(tiny_root: Path, computed: Computed, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the tiny project, whose runs are all there; return its folder."""
    monkeypatch.setenv("REPRO_ROOT", str(tiny_root))
    monkeypatch.setenv("REPRO_RUNS", str(computed.runs.root))
    return tiny_root


def faces(n: int = 96, *, seed: int = 0, size: int = 32) -> Faces:
    """Noise whose left half is brighter where the target is 1: easy to tell, if not flipped."""
    rng = np.random.default_rng(seed)
    target, protected = rng.integers(0, 2, n), rng.integers(0, 2, n)
    images = rng.integers(0, 120, (n, 3, size, size), dtype=np.uint8)
    images[target == 1] += 100
    return Faces(
        torch.from_numpy(images),
        torch.arange(n),
        torch.from_numpy(target),
        torch.from_numpy(protected),
        np.array([f"{i:04d}" for i in range(n)]),
    )


def same(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two networks have the same parameters and buffers, bit for bit."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return a function that calls the command in the tiny project, as its entry point does."""
    monkeypatch.setattr(sources, "_download", lambda *_: pytest.fail("a download was tried"))
    return lambda *words: CliRunner().invoke(cli.app, words)


def lines(result: Result) -> list[str]:
    """Return what a command printed that went well."""
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output.splitlines()


def copied(records: Iterable[Record], runs: Path) -> Path:
    """Copy some runs to another folder of runs, which a test may write to."""
    for record in records:
        shutil.copytree(record.folder, runs / record.run)
    return runs


@pytest.fixture
def canvas() -> Iterator[None]:
    """Draw without a screen, and leave no figure and no setting behind."""
    with mpl.rc_context(), plt.rc_context({"backend": "agg"}):
        figures.style()
        yield
        plt.close("all")


def drawn(figure: Figure) -> Figure:
    """Render; a layout that fails only shows then."""
    figure.canvas.draw()
    return figure


def first_seed(results: Results) -> Results:
    """Return the records of the first seed alone."""
    return {key: records[:1] for key, records in results.items()}


MakeRecord = Callable[..., Record]


@pytest.fixture(scope="session")
def made_up() -> MakeRecord:
    """Return a function that makes a record of 4000 people up, by how many are predicted 1.

    Of each group (t, p) 1000 people; ``positive`` gives how many of (0,0), (0,1), (1,0), (1,1)
    are predicted 1. So the demographic parity difference of (0, 0, 0, k) is k / 2000 and its sum
    of equalised odds k / 1000. ``history`` gives the same for each epoch, ``validation`` for
    that part, which there is none of without it.
    """

    def counts(positive: Sequence[int]) -> list[Any]:
        ones = np.asarray(positive).reshape(2, 2)
        table: list[Any] = np.stack([1000 - ones, ones], axis=-1).tolist()
        return table

    def make(
        seed: int = 0,
        positive: Sequence[int] = (0, 0, 0, 0),
        *,
        results: dict[str, Any] | None = None,
        run: str | None = None,
        history: Sequence[Sequence[int]] = (),
        validation: Sequence[int] | None = None,
        **config: Any,
    ) -> Record:
        parts = {"test": counts(positive)}
        if validation is not None:
            parts["validation"] = counts(validation)
        return Record(
            {
                "run": run or f"run-{seed}-{config}-{list(positive)}",
                "config": {"stage": "win-finetune", "profile": "tiny", "seed": seed, **config},
                "upstream": {},
                "counts": parts,
                "results": results or {},
                "history": [{"counts": {"test": counts(epoch)}} for epoch in history],
                "git_commit": "0123456789abcdef",
                "seconds": 1.0,
                "machine": "a machine",
                "versions": {"torch": "2"},
            }
        )

    return make
