"""The lock, environment.yml and pyproject.toml name the same packages."""

from __future__ import annotations

import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from repro.environment import environment_yaml, pins
from repro.study.profiles import project_root

ROOT = project_root()
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
TWO_PINS = """\
numpy==2.1.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
    # via repro (pyproject.toml)
tqdm==4.67.0 \\
    --hash=sha256:01
"""


def test_environment_file_is_written_from_the_lock() -> None:
    written = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert written == environment_yaml(LOCK), "environment.yml is not the lock's: run 'make lock'"


def test_environment_keeps_versions_and_markers_and_installs_the_package_last() -> None:
    *_, pip = yaml.safe_load(environment_yaml(TWO_PINS))["dependencies"]
    assert pip["pip"] == ["numpy==2.1.0 ; python_full_version < '3.12'", "tqdm==4.67.0", "-e ."]


@pytest.mark.parametrize("line", ["numpy>=2", "--index-url somewhere", "-e ."])
def test_a_line_that_pins_nothing_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="pins nothing"):
        pins(line)


def test_every_direct_dependency_is_locked_at_a_version_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = [Requirement(pin) for pin in pins(LOCK)]
    for requirement in map(Requirement, wanted):
        versions = [
            next(iter(pin.specifier)).version
            for pin in locked
            if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
        ]
        assert versions, f"{requirement.name} is not in requirements.lock: run 'make lock'"
        assert all(map(requirement.specifier.contains, versions)), f"{requirement}: {versions}"


def test_lock_has_hashes_and_no_index() -> None:
    assert LOCK.count("--hash=sha256:") > len(pins(LOCK))
    assert "://" not in LOCK
    assert "--index-url" not in LOCK
