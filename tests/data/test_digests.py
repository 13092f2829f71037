"""Every digest that the source declares agrees with something that this project did not write."""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

import pytest
from torchvision.datasets import CelebA, LFWPeople

import repro.data
from repro.data import adult, celeba, fairface, lfwa, utkface
from repro.data.sources import data_root

#: digests as torchvision's own tables give them, by data set and file
PUBLISHED = {("celeba", name): md5 for _, md5, name in CelebA.file_list} | {
    ("lfwa", name): md5 for _, name, md5 in LFWPeople.file_dict.values()
}
#: (data set, file, digest) of everything that is declared
DECLARED = sorted(
    {("adult", file.name, file.sha256) for file in adult.FILES}
    | {
        (module.DATASET.name, *declared)
        for module in (celeba, fairface, lfwa, utkface)
        for piece in module.DATASET.pieces.values()
        for declared in piece.editions.values()
    }
)


def _content(dataset: str, name: str) -> bytes:
    """Return a file of a data set, or skip; a list may lie there compressed."""
    folder = data_root() / dataset
    if (folder / name).is_file():
        return (folder / name).read_bytes()
    packed = folder / f"{Path(name).stem}.zip"
    if name.endswith(".txt") and packed.is_file():
        with zipfile.ZipFile(packed) as archive:
            return archive.read(name)
    pytest.skip(f"needs REPRO_DATA with {dataset}/{name} (see README)")


@pytest.mark.parametrize(
    ("dataset", "name", "digest"), DECLARED, ids=[f"{d[0]}-{d[1]}-{d[2][:8]}" for d in DECLARED]
)
def test_a_declared_digest_is_the_published_one_or_that_of_a_file(
    dataset: str, name: str, digest: str
) -> None:
    if digest.startswith("md5:"):
        assert digest == f"md5:{PUBLISHED[dataset, name]}"
    else:
        assert digest == hashlib.sha256(_content(dataset, name)).hexdigest()


@pytest.mark.parametrize("name", ["list_attr_celeba.txt", "list_eval_partition.txt"])
def test_the_published_digest_is_that_of_the_list(name: str) -> None:
    content = hashlib.md5(_content("celeba", name), usedforsecurity=False)
    assert f"md5:{content.hexdigest()}" == celeba.declared("official")[name]


def test_no_digest_of_the_source_is_left_out() -> None:
    sources = Path(next(iter(repro.data.__path__))).parent.rglob("*.py")
    written = re.findall(r'"((?:md5:)?[0-9a-f]{32,})"', "".join(p.read_text() for p in sources))
    assert sorted(set(written)) == sorted(digest for _, _, digest in DECLARED)
