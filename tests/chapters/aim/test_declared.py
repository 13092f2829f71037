"""Which images settings name, and the digests that are declared of them, without reading one."""

from __future__ import annotations

import pytest

from repro.chapters.aim.data import real_faces, synthetic_faces
from repro.chapters.aim.declared import camera_of, declared_sha256, studio_of
from repro.data import celeba, toyfaces
from repro.names import UnknownNameError
from repro.settings import FaceData, SettingsError, SyntheticFaces

DATA = FaceData(name="toyfaces", size=16, total=160)
SYNTHETIC = SyntheticFaces(total=160, pool=100)


def test_the_two_domains_have_no_face_in_common() -> None:
    settings = camera_of(DATA), studio_of(DATA, SYNTHETIC)
    assert settings[0].seed != settings[1].seed
    assert [s.domain for s in settings] == ["camera", "studio"]
    assert len({s.size for s in settings}) == 1
    first, second = (toyfaces.factors(s).round(6) for s in settings)
    assert not set(map(tuple, first.to_numpy())) & set(map(tuple, second.to_numpy()))


def test_what_is_declared_is_what_is_read() -> None:
    real, sets = real_faces(DATA), synthetic_faces(DATA, SYNTHETIC, seed=0)
    assert declared_sha256(DATA) == real.sha256
    assert declared_sha256(DATA, SYNTHETIC) == real.sha256 | sets.sha256
    assert set(declared_sha256(DATA, SYNTHETIC)) == {"toyfaces camera", "toyfaces studio"}


def test_what_makes_other_pixels_has_another_digest() -> None:
    def digests(synthetic: SyntheticFaces = SYNTHETIC, **changed: object) -> dict[str, str]:
        return declared_sha256(DATA.model_copy(update=changed), synthetic)

    plain = digests()
    for changed in ({"target": "Young"}, {"fraction": 0.25}):  # these choose, they do not draw
        assert digests(**changed) == plain
    for changed in ({"toy_seed": 1}, {"size": 32}, {"toy_noise": 0.5}, {"toy_smile_strength": 2.0}):
        found = digests(**changed)
        assert found["toyfaces camera"] != plain["toyfaces camera"], changed
    assert digests(toy_domain_gap=0.5)["toyfaces studio"] != plain["toyfaces studio"]
    larger = digests(SyntheticFaces(total=160, pool=101))
    assert larger["toyfaces studio"] != plain["toyfaces studio"]
    assert larger["toyfaces camera"] == plain["toyfaces camera"]
    assert digests(SyntheticFaces(total=80, pool=100)) == plain


def test_a_real_set_declares_its_files_and_how_they_are_decoded() -> None:
    found = declared_sha256(FaceData(name="celeba", edition="reduced"))
    assert found.items() >= celeba.declared("reduced").items()
    assert found["decoding"].startswith("version ")
    with pytest.raises(UnknownNameError, match="'offical'; did you mean 'official'"):
        declared_sha256(FaceData(name="celeba").model_copy(update={"edition": "offical"}))


def test_no_generator_debiases_what_it_learnt_from() -> None:
    synthetic = SyntheticFaces(
        source="generator", generator="faces", prompts="contextual", prompts_per_group=50
    )
    with pytest.raises(SettingsError, match="'faces' learnt from LFW"):
        declared_sha256(FaceData(name="lfwa"), synthetic)
    assert declared_sha256(FaceData(name="lfwa"))["decoding"] == "version 2"
