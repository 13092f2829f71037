"""Prompts that are given in files of the authors' layout: read as literals, never executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.aimfair.prompt_checks import check_prompt
from repro.aimfair.prompt_files import read_prompts
from repro.aimfair.prompt_form import KINDS, Task
from repro.data.splits import GROUPS
from repro.settings import SettingsError

PLAIN, _, POSED = KINDS
SMILING = Task("Smiling", "Male")

# The layout of the released files, in words of our own: banners, a plain list for each group on one
# line, then lists over many lines, in this order of the groups; no line feed at the end.
TEXT = """########################################
#### Single Prompt
########################################
list_single_Smiling_Male = ["Portrait face photo of a smiling male."]
list_single_Smiling_Female = ["Portrait face photo of a smiling female."]
list_single_NoSmiling_Male = ["Portrait face photo of a no-smiling male."]
list_single_NoSmiling_Female = ["Portrait face photo of a no-smiling female."]

list_Smiling_Male = [
    "Portrait face photo of a smiling male with a snub nose, a red cap, and head turned left.",
    "Portrait face photo of a smiling male with small ears, wavy hair, dimples, head held high.",
]
list_Smiling_Female = [
    "Portrait face photo of a smiling female with thin lips, wearing a scarf, and head bowed.",
]
list_NoSmiling_Male = [
    "Portrait face photo of a male not smiling, with a grey beard, a cap, and head turned left."
]
list_NoSmiling_Female = [
    "Portrait face photo of a female not smiling, with long bangs, freckles, and chin raised."
]
# list_Smiling_Male = [
#     "Portrait face photo of an earlier version.",
# ]"""

WHITE = """# V1
list_Female_White = ["Face photo of an 80-year-old White female with a kind look and thin hair."]
list_Female_NonWhite = ["Face photo of a 31-year-old Asian female with a sly grin and a bob."]
list_Male_White = ["Face photo of a 4-year-old White male with a merry laugh and curls."]
list_Male_NonWhite = ["Face photo of a 55-year-old Black male with a calm gaze and short hair."]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scripts = tmp_path / "release" / "stable_diffusion" / "ldm" / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "Text_Smiling_Male.py").write_text(TEXT)
    (scripts / "Text_Female_White.py").write_text(WHITE)
    return scripts


def test_each_group_gets_its_lists_from_a_file_a_folder_or_the_release(folder: Path) -> None:
    for path in (folder / "Text_Smiling_Male.py", folder, folder.parents[2]):
        plain = read_prompts(path, SMILING, kind=PLAIN)
        assert [plain[group] for group in GROUPS] == [
            (f"Portrait face photo of a {who}.",)
            for who in ("no-smiling female", "no-smiling male", "smiling female", "smiling male")
        ]
        found = read_prompts(str(path), SMILING, kind=POSED)
        assert [len(found[group]) for group in GROUPS] == [1, 1, 1, 2]
        assert "grey beard" in found[0, 1][0]
    other = read_prompts(folder, Task("Female", "White"), kind=POSED)
    assert ["80" in other[1, 1][0], "Asian" in other[1, 0][0], "4-" in other[0, 1][0]] == [True] * 3


def test_what_is_written_so_passes_the_checks(folder: Path) -> None:
    for task in (SMILING, Task("Female", "White")):
        for group, prompts in read_prompts(folder, task, kind=POSED).items():
            assert [check_prompt(prompt, task, group) for prompt in prompts] == [[]] * len(prompts)


def test_names_of_the_other_tasks(tmp_path: Path) -> None:
    young = [f"list_{a}_{b} = ['x']" for a in ("Smiling", "NotSmiling") for b in ("Young", "Aged")]
    (tmp_path / "Text_Smiling_Young.py").write_text("\n".join(young))
    assert len(read_prompts(tmp_path, Task("Smiling", "Young"), kind=POSED)) == 4
    male = [f"list_{a}_{b} = ['x']" for a in ("Young", "Aged") for b in ("Male", "Female")]
    (tmp_path / "Text_Young_Male.py").write_text("\n".join(male))
    assert len(read_prompts(tmp_path, Task("Young", "Male"), kind=POSED)) == 4


def test_nothing_is_executed(folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    call = f"open({str(trap)!r}, 'w').write('x')"
    path = folder / "Text_Smiling_Male.py"
    path.write_text(f"import nowhere\n{call}\n{TEXT}\n")
    assert len(read_prompts(path, SMILING, kind=POSED)) == 4
    path.write_text(f"{TEXT}\nlist_Smiling_Male = [{call}]\n")
    with pytest.raises(SettingsError, match=r"list_Smiling_Male of .* is no list of texts"):
        read_prompts(path, SMILING, kind=POSED)
    assert not trap.exists()


@pytest.mark.parametrize("value", ["[]", "'text'", "[1]", "list_Smiling_Male", "['a', *rest]"])
def test_what_is_no_list_of_texts_is_named(folder: Path, value: str) -> None:
    path = folder / "Text_Smiling_Male.py"
    path.write_text(f"{TEXT}\nlist_Smiling_Female = {value}\n")
    with pytest.raises(SettingsError, match=r"list_Smiling_Female of .* is no list of texts"):
        read_prompts(path, SMILING, kind=POSED)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"no .*Text_Young_Male\.py.*; give a file, or a folder"
    ):
        read_prompts(folder, Task("Young", "Male"), kind=POSED)
    with pytest.raises(SettingsError, match=r"there is no .*nowhere"):
        read_prompts(tmp_path / "nowhere", SMILING, kind=POSED)
    with pytest.raises(SettingsError, match=r"no list_single_Male_NonWhite, the plain prompts of"):
        read_prompts(folder, Task("Female", "White"), kind=PLAIN)
    path = folder / "Text_Smiling_Male.py"
    path.write_text(TEXT.replace("list_NoSmiling_Male", "list_Other"))
    with pytest.raises(
        SettingsError,
        match=r"no list_NoSmiling_Male or list_NotSmiling_Male.*group \(0, 1\).*list_Other",
    ):
        read_prompts(path, SMILING, kind=POSED)
    path.write_text("list_Smiling_Male = [")
    with pytest.raises(SettingsError, match="is no Python file"):
        read_prompts(path, SMILING, kind=POSED)
