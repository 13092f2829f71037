"""The ``repro`` command: what it prints, how it exits, and that an error is one line."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.conftest import Computed, Invoke, copied, lines

from repro import cli
from repro.cli import write_readme
from repro.settings import SettingsError
from repro.study import glance
from repro.study import records as records_module
from repro.study.compare import COMPARED
from repro.study.experiments import claims
from repro.study.profiles import load_profile, project_root
from repro.study.rule import SIGNS, UNTESTED
from repro.study.runs import RECORD, RecordError, Runs

REAL_ROOT = project_root()


@pytest.fixture
def own_project(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the tiny project that a test may write to."""
    root = tmp_path / "copy"
    shutil.copytree(tiny, root)
    monkeypatch.setenv("REPRO_ROOT", str(root))
    return root


# verdicts


def test_verdicts(invoke: Invoke) -> None:
    said = lines(invoke("verdicts", "tiny"))
    assert len(said) == 2 * len(claims())
    tiny = load_profile("tiny")
    for claim, line, why in zip(claims(), said[::2], said[1::2], strict=True):
        statement = claim.statement(tiny)
        assert line.startswith(f"{claim.where:12} ")  # in columns
        assert line.endswith(f" {statement}")
        words = line.removesuffix(statement)[13:].strip()
        assert any(words.startswith(word) for word in SIGNS)
        if claim.notebook == "33_prompt_diversity":  # the images of "tiny" come from no prompts
            assert words == UNTESTED
            assert "not among the runs of profile 'tiny': " in why
        elif claim.name in (
            *("backbones", "top-k", "sft-vs-erm-elsewhere", "win-faces-elsewhere"),
        ):
            # Nor has it other backbones or tasks, nor the paper's k.
            assert words == UNTESTED
            assert "leave nothing to compare" in why
        elif claim.kind != "construction":
            assert re.search(r"of \d+ contrasts? \d ", why)
    assert {line[13:31].strip() for line in lines(invoke("verdicts"))[::2]} == {UNTESTED}


def test_verdicts_as_markdown(invoke: Invoke) -> None:
    said = "\n".join(lines(invoke("verdicts", "tiny", "--markdown")))
    real, simulated, table, notes = (part for part in re.split(r"\n\n(?![-])", said) if part)
    assert real.startswith(f"**Real data** (profile `tiny`), {len(claims())} claims:")
    assert simulated.startswith(f"**Simulated data** (profile `toy`), {len(claims())} claims:")
    assert "95 % paired intervals" in notes
    rows = table.splitlines()
    assert [row.split("**")[1] for row in rows if row.startswith("| **")] == [
        *("AIM-Fair", "WIN", "WIN on faces"),
    ]
    assert sum(row.startswith("| [") for row in rows) == len(claims())


def test_verdicts_into_the_readme(
    invoke: Invoke, own_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once_made = functools.cache(glance.at_a_glance_markdown)  # it takes half a minute
    monkeypatch.setattr(glance, "at_a_glance_markdown", once_made)
    readme = own_project / "README.md"
    begin, end = "<!-- verdicts:begin -->", "<!-- verdicts:end -->"
    short = "<!-- in short:begin -->", "<!-- in short:end -->"
    readme.write_text(
        f"# Before\n{short[0]}\nSTALE\n{short[1]}\n{begin}\nSTALE\n{end}\nafter\n",
        encoding="utf-8",
    )
    lines(invoke("verdicts", "tiny", "--readme"))
    once = readme.read_text(encoding="utf-8")
    assert once.startswith(f"# Before\n{short[0]}\n| Question | Difference | ")
    assert f"{short[1]}\n{begin}\n**Real data** (profile `tiny`), " in once
    assert (own_project / "book" / "_static" / "in_short.svg").is_file()
    assert once.endswith(f"{end}\nafter\n")
    assert "STALE" not in once
    lines(invoke("verdicts", "tiny", "--readme"))
    assert readme.read_text(encoding="utf-8") == once


@pytest.mark.parametrize("text", ["no marks", "<!-- it:begin -->", "<!-- it:end -->"])
def test_a_readme_without_the_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"README\.md lacks the marks"):
        write_readme({"it": lambda: pytest.fail("made for nothing")}, path)
    assert path.read_text(encoding="utf-8") == text


# export


@pytest.mark.usefixtures("own_project")
def test_export_then_read_without_the_runs(
    invoke: Invoke, computed: Computed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = len({record.run for group in computed.everything.values() for record in group})
    assert lines(invoke("export", "tiny")) == [f"{n} records -> book/recorded/tiny.parquet"]
    here = invoke("verdicts", "tiny").output
    same = invoke("compare", str(computed.runs.root), "tiny")
    assert same.exit_code == 0
    # Three seeds of each setting; eight heads of chapter 48 are more seeds of another's.
    comparisons = len(COMPARED) * (n - 8) // 3
    assert (
        f"{comparisons} comparisons: {comparisons} identical, in 0 no difference is found"
        in same.output
    )
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path / "none"))
    assert invoke("verdicts", "tiny").output == here
    run = computed.strategies["tl"][0].run
    assert json.loads(invoke("show", "--json", run[:10]).output)["run"] == run


def test_export_of_an_incomplete_profile_says_what_is_missing(
    invoke: Invoke, own_project: Path, tmp_path: Path, computed: Computed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    runs = tmp_path / "runs"
    shutil.copytree(computed.runs.root, runs)
    monkeypatch.setenv("REPRO_RUNS", str(runs))
    shutil.rmtree(runs / computed.weights["rank 2, a 0.9"][1].run)
    result = invoke("export", "tiny")
    assert isinstance(result.exception, RecordError)
    assert "1 settings of profile 'tiny' have not been run" in str(result.exception)
    assert "(first: group_weights: rank 2, a 0.9)" in str(result.exception)
    assert "'make study PROFILE=tiny' runs them" in str(result.exception)
    assert not (own_project / "book").exists()


# compare


def test_compare_counts_what_agrees(invoke: Invoke, computed: Computed, tmp_path: Path) -> None:
    other = copied(computed.strategies["tl"] + computed.strategies["pre-trained"], tmp_path)
    result = invoke("compare", str(computed.runs.root), str(other))
    assert result.exit_code == 0
    assert f"settings are only in {computed.runs.root}" in result.output
    n = 2 * len(COMPARED)
    assert f"{n} comparisons: {n} identical" in result.output
    assert "finetune toycensus mlp-2 tl" not in result.output
    everything = invoke("compare", str(computed.runs.root), str(other), "--all")
    assert everything.output.count("finetune toycensus mlp-2 tl") == len(COMPARED)


def test_compare_of_one_seed_cannot_tell(
    invoke: Invoke, computed: Computed, tmp_path: Path
) -> None:
    for at, record in enumerate(computed.strategies["pre-trained"][:2]):
        copied([record], tmp_path / str(at))
    result = invoke("compare", str(tmp_path / "0"), str(tmp_path / "1"))
    assert result.exit_code == 0
    assert f"{len(COMPARED)} comparisons: 0 identical, in 0 no difference is found" in result.output
    assert f"{len(COMPARED)} cannot be told (a single seed)" in result.output


def test_compare_exits_with_1_where_sets_differ(
    invoke: Invoke, computed: Computed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from repro.study import compare

    real = compare.read_set

    def shifted(name: str) -> dict[str, object]:
        found = real(str(computed.runs.root))
        if name == "shifted":
            for record in found.values():
                tables = record.body["counts"]["test"]
                tables[1] = [[no + yes, 0] for no, yes in tables[1]]
        return {**found}

    monkeypatch.setattr(compare, "read_set", shifted)
    result = invoke("compare", "here", "shifted")
    assert result.exit_code == 1
    assert "accuracy" in result.output
    assert re.search(r"[1-9]\d* differ, 0 cannot be told", result.output)


def test_compare_of_sets_with_nothing_in_common(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = invoke("compare", str(tmp_path / "empty"), str(tmp_path / "empty"))
    assert result.exit_code == 1
    assert "no setting in common" in result.output


# show


def test_verify_finds_every_file_that_changed(
    invoke: Invoke, computed: Computed, tmp_path: Path
) -> None:
    copy = copied(computed.strategies["tl"], tmp_path / "runs")
    assert lines(invoke("verify", str(copy))) == ["3 of 3 records are as they were written"]
    first, second, third = sorted(copy.iterdir())
    with (first / "weights.safetensors").open("ab") as file:
        file.write(b"0")
    (second / "predictions.parquet").unlink()
    text = (third / "record.json").read_text(encoding="utf-8")
    (third / "record.json").write_text(text.replace('"seed": ', '"seed": 9'), encoding="utf-8")
    found = invoke("verify", str(copy))
    assert found.exit_code == 1
    assert "weights.safetensors is not the file that was recorded" in found.output
    assert "predictions.parquet is missing" in found.output
    assert "was changed after it was written" in found.output
    assert found.output.splitlines()[-1] == "0 of 3 records are as they were written"


def test_verify_of_exported_records_and_of_none(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPRO_ROOT")
    said = lines(invoke("verify", str(REAL_ROOT / "book" / "recorded" / "pilot.parquet")))
    assert said[0].endswith("records are as they were written")
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path / "none"))
    assert lines(invoke("verify")) == ["0 of 0 records are as they were written"]


def test_show(invoke: Invoke, computed: Computed) -> None:
    record = computed.strategies["win, rank 1"][0]
    assert json.loads(invoke("show", "--json", record.run).output) == record.body
    said = lines(invoke("show", record.run))
    assert f'run: "{record.run}"' in said
    accuracy = record.metrics()["accuracy"]
    assert any(re.fullmatch(rf"  accuracy +{accuracy:.6f}", line) for line in said)
    assert "history" not in "\n".join(said)


def test_show_is_not_stopped_by_a_corrupt_record_elsewhere(
    invoke: Invoke, computed: Computed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [computed.strategies[key][0] for key in ("tl", "pre-trained")]
    wanted, broken = (record.run for record in records)
    runs = copied(records, tmp_path / "runs")
    (runs / broken / "record.json").write_text("{", encoding="utf-8")
    monkeypatch.setenv("REPRO_RUNS", str(runs))
    assert f'run: "{wanted}"' in lines(invoke("show", wanted))
    assert isinstance(invoke("show", broken).exception, RecordError)


@pytest.mark.parametrize(("beginning", "found"), [("", "all"), ("no-such-run", "0")])
def test_show_needs_exactly_one(
    invoke: Invoke, computed: Computed, beginning: str, found: str
) -> None:
    n = str(len(computed.runs.records()))
    result = invoke("show", beginning)
    assert isinstance(result.exception, RecordError)
    count = n if found == "all" else found
    said = str(result.exception)
    assert said.startswith(f"{count} known runs begin with '{beginning}'")
    assert said.endswith("give more of its name") == (found == "all")


# Exit status


def repro(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "repro.cli", *words]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_installed_command_is_main() -> None:
    project = tomllib.loads((REAL_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"repro": "repro.cli:main"}


@pytest.mark.usefixtures("tiny")
def test_an_expected_error_is_one_line_and_status_2() -> None:
    done = repro("show", "none")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.fullmatch(r"repro: 0 known runs begin with 'none'", line)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["export", "desk"], "settings of profile 'desk' have not been run"),
        (["verdicts", "tinny"], "unknown profile 'tinny'; did you mean 'tiny'? (valid: smoke,"),
        (["compare", "smoke", "tiny"], "profile 'smoke' has no exported records"),
        (["verdicts", "--readme"], r"README.md"),
    ],
)
def test_main_turns_errors_into_one_line(
    words: list[str], error: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tiny: Path,
) -> None:  # fmt: skip
    if "--readme" in words:
        monkeypatch.setattr(glance, "at_a_glance_markdown", lambda _: "the table")
        (tiny / "README.md").write_text("no marks", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["repro", *words])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("repro: ")
    assert error in line


@pytest.mark.usefixtures("tiny")
def test_a_corrupt_record_is_one_line(
    computed: Computed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (record,) = computed.strategies["pre-trained"][:1]
    folder = copied([record], tmp_path) / record.run
    (folder / RECORD).write_text("{", encoding="utf-8")
    monkeypatch.setenv("REPRO_RUNS", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["repro", "verdicts", "tiny"])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"delete the folder {folder} and run again" in line
    assert Runs().root == tmp_path
    assert records_module.recorded("tiny") == {}


# ship


def test_ship_packs_each_pool_once(
    invoke: Invoke, own_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packed(folder: Path, target: Path) -> None:
        assert folder.name == target.name
        target.mkdir()
        (target / "images.png").write_bytes(bytes(2_100_000))

    monkeypatch.setattr("repro.chapters.aim.synthetic.pool", lambda *_: range(64))
    monkeypatch.setattr("repro.aimfair.packedset.pack", packed)
    shutil.rmtree(own_project / "models" / "pools", ignore_errors=True)
    said = lines(invoke("ship", "smoke"))
    there = sorted(path.name for path in (own_project / "models" / "pools").iterdir())
    # That of all chapters, and in each of two seeds one for each kind of prompts of Table 5.
    assert len(there) == 1 + 2 * len(load_profile("smoke").faces.prompt_sets)
    assert sorted(said) == [f"64 images, 2.1 MB -> models/pools/{name}" for name in there]
    assert lines(invoke("ship", "smoke")) == said
    refused = invoke("ship", "tiny")
    assert "profile 'tiny' reads no images of a generator" in str(refused.exception)
