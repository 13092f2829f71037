"""A run is known by everything that its configuration says, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from repro.settings import Strict
from repro.study.configs import RunConfig
from repro.study.experiments import everything
from repro.study.profiles import load_profile

#: Where a file lies is no part of an identity; what it holds is, by its digest.
PLACES = {"weights_file", "prompts_file"}


@pytest.fixture(scope="module")
def stages() -> dict[str, RunConfig]:
    """Return a run of each stage."""
    runs = [config for group in everything(load_profile("smoke")).values() for config in group]
    return {config.stage: config for config in runs}


def changed(settings: Strict) -> Iterator[tuple[str, Strict]]:
    """Yield every setting's dotted name with a copy in which that one alone is another."""
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Strict) and not isinstance(value, RunConfig):
            inner = changed(value)
        elif isinstance(value, RunConfig):
            inner = iter([("", value.model_copy(update={"seed": value.seed + 1}))])
        else:
            inner = iter([("", "another")])  # type: ignore[list-item]
        for at, other in inner:
            yield f"{name}.{at}".rstrip("."), settings.model_copy(update={name: other})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_every_setting_is_part_of_the_identity(stages: dict[str, RunConfig]) -> None:
    for config in stages.values():
        others = {name: other.identity for name, other in changed(config)}  # type: ignore[attr-defined]
        places = [name for name in others if name.split(".")[-1] in PLACES]
        assert {others.pop(name) for name in places} <= {config.identity}, config.stage
        assert len({config.identity, *others.values()}) == 1 + len(others), config.stage


def test_upstream_enters_by_its_identity(stages: dict[str, RunConfig]) -> None:
    assert len(stages) == 3 + 2 + 4  # of WIN, of WIN on faces, of AIM-Fair
    for config in stages.values():
        for name, above in config.upstream().items():
            assert config.describe()[name] == above.identity
    assert stages["win-finetune"].upstream().keys() == {"pretrained"}
    assert stages["win-pretrain"].upstream() == {}


def test_version_of_a_stage_is_part_of_the_identity(
    stages: dict[str, RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = stages["win-finetune"]
    above = tuned.upstream()["pretrained"]
    before = above.identity, tuned.identity
    monkeypatch.setattr(type(above), "version", above.version + 1)
    assert above.identity != before[0]
    assert tuned.identity != before[1]  # through its upstream run
