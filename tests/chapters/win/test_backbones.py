"""Table 4 of WIN on images: other backbones, where a profile names them."""

from __future__ import annotations

from tests.chapters.conftest import view_of
from tests.chapters.win.conftest import settings_of
from tests.conftest import MakeRecord

from repro.chapters.win import backbones
from repro.chapters.win.configs import words
from repro.chapters.win.face_configs import FaceHead
from repro.study.profiles import load_profile


def test_only_the_paper_profile_has_other_backbones() -> None:
    paper = load_profile("paper")
    plan = backbones.architectures(paper, [0])
    assert {key.split(",")[0] for key in plan} == {"resnet50", "densenet121"}
    base = plan["resnet50, pre-trained"][0]
    assert isinstance(base, FaceHead)
    assert (base.backbone.architecture, base.backbone.initialisation) == ("resnet50", "imagenet")
    (claim,) = backbones.CLAIMS
    assert len(claim.contrasts(paper)) == 2
    assert "(resnet50, densenet121)" in claim.statement(paper)
    assert not claim.contrasts(load_profile("quick"))


def test_each_backbone_has_its_rows(made_up: MakeRecord) -> None:
    gaps = [
        (settings_of("tl"), 200), (settings_of("win", 1), 150), (settings_of("win", 2), 100)
    ]  # fmt: skip
    results = {
        f"{name}, {words(how, {})}": [made_up(0, (0, 0, 0, gap), **how)]
        for name in ("resnet50", "densenet121")
        for how, gap in gaps
    }
    table, found = backbones.backbones_tables(view_of(results, "paper"))
    table, found = table.set_index("setting"), found.set_index("difference")
    assert table.loc["densenet121, WIN, rank 1", "ΔDP"] == "7.50"
    assert found["ΔDP"].to_dict() == {
        f"{name}: WIN − TL, rank {rank}": f"{by:+.2f}"
        for name in ("resnet50", "densenet121")
        for rank, by in ((1, -2.5), (2, -5.0))
    }
