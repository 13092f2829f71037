from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chi2_contingency
from torch import Tensor

from repro.data import toyfaces
from repro.data.toyfaces import ToyFaces, factors, fingerprint, generate, render
from repro.data.toyfaces.factors import (
    ATTRIBUTES,
    CATEGORIES,
    COINS,
    HAIR_COLOURS,
    NUISANCES,
    POSES,
    draw_factors,
)
from repro.names import UnknownNameError

SMALL = ToyFaces(n=40, seed=3, size=32)
DOMAINS = ("camera", "studio")


@pytest.fixture(scope="module")
def many() -> pd.DataFrame:
    return draw_factors(40_000, seed=11)


def _independent(first: pd.Series, second: pd.Series) -> float:
    return float(chi2_contingency(pd.crosstab(first, second)).pvalue)


def _changed(name: str, off: Any, on: Any, settings: ToyFaces, **fixed: Any) -> Tensor:
    """(size, size) mean absolute difference that one factor makes, all else the same."""
    table = draw_factors(60, seed=5).assign(centre_x=0.5, centre_y=0.5, scale=0.5, roll=0.5)
    # A plain head, so that nothing hides what is looked for.
    table = table.assign(yaw=0.0, pose="frontal", Wearing_Hat=0, Beard=0, hair_style="short")
    table = table.assign(**fixed)
    images = [render(table.assign(**{name: value}), settings).float() for value in (off, on)]
    return (images[1] - images[0]).abs().mean(dim=(0, 1))


def test_rows_do_not_depend_on_how_many_are_drawn() -> None:
    whole = draw_factors(500, seed=7)
    for n in (1, 123):
        pd.testing.assert_frame_equal(draw_factors(n, seed=7), whole.iloc[:n])
    assert (draw_factors(500, seed=8)["skin"] != whole["skin"]).all()


def test_every_column_has_the_values_that_are_promised(many: pd.DataFrame) -> None:
    assert set(many) == {*ATTRIBUTES, *CATEGORIES, *NUISANCES, "skin", "yaw", "noise_key"}
    for name in ATTRIBUTES:
        assert many[name].dtype == np.int8
        assert set(many[name]) == {0, 1}
    for name, values in CATEGORIES.items():
        assert set(many[name]) == set(values)
    for name in NUISANCES:
        assert many[name].between(0, 1, inclusive="left").all()
        assert many[name].mean() == pytest.approx(0.5, abs=0.01)
    assert many["noise_key"].between(0, 2**32 - 1).all()
    for name, chance in COINS.items():
        # Four standard errors of a share of 40,000 are at most 0.01.
        assert many[name].mean() == pytest.approx(chance, abs=0.01), name


def test_factors_without_a_parent_are_independent(many: pd.DataFrame) -> None:
    free = [*COINS, "pose", "clothing", "background", "hat_colour"]
    pairs = [(a, b) for i, a in enumerate(free) for b in free[i + 1 :]]
    assert min(_independent(many[a], many[b]) for a, b in pairs) > 0.01 / len(pairs)


def test_the_target_is_independent_of_everything_else(many: pd.DataFrame) -> None:
    others = [name for name in (*ATTRIBUTES, *CATEGORIES) if name != "Smiling"]
    values = {name: _independent(many["Smiling"], many[name]) for name in others}
    for name in (*NUISANCES, "skin", "yaw"):
        values[name] = _independent(many["Smiling"], pd.qcut(many[name], 5))
    assert min(values.values()) > 0.01 / len(values), min(values, key=lambda name: values[name])


def test_factors_depend_on_their_parents_as_said(many: pd.DataFrame) -> None:
    men, women = many[many["Male"] == 1], many[many["Male"] == 0]
    assert (women["Beard"] == 0).all()
    assert men["Beard"].mean() == pytest.approx(0.4, abs=0.02)
    others = ("Smiling", "Young", "Eyeglasses", "hair_style", "hair_colour", "pose")
    assert min(_independent(men["Beard"], men[name]) for name in others) > 0.01 / len(others)
    assert (women["hair_style"] != "bald").all()
    assert (many.loc[many["Wavy_Hair"] == 1, "hair_style"] != "bald").all()
    grey = many["hair_colour"] == "grey"
    assert grey[many["Young"] == 0].mean() > 0.6
    assert grey[many["Young"] == 1].mean() < 0.06
    long = many["hair_style"].isin(["bob", "long", "bun"])
    assert long[women.index].mean() > 0.9
    assert long[men.index].mean() < 0.15
    assert women["Wearing_Earrings"].mean() > 10 * men["Wearing_Earrings"].mean() / 2


def test_names_and_numbers_say_the_same(many: pd.DataFrame) -> None:
    named = ("Black_Hair", "Brown_Hair", "Blond_Hair", "Gray_Hair")
    for name, colour in zip(named, HAIR_COLOURS, strict=True):
        assert (many[name] == (many["hair_colour"] == colour)).all()
    assert (many["Bald"] == (many["hair_style"] == "bald")).all()
    for name, low, high in zip(POSES, (-0.2, -1, 0.6), (0.2, -0.6, 1), strict=True):
        assert many.loc[many["pose"] == name, "yaw"].between(low, high).all()
    assert ((many["skin"] < 0.4) == (many["Pale_Skin"] == 1)).all()


@pytest.mark.parametrize("domain", DOMAINS)
def test_an_image_does_not_depend_on_its_company(domain: str) -> None:
    table = draw_factors(70, seed=3)
    for size in (24, 32):
        settings = replace(SMALL, domain=domain, size=size)
        whole = render(table, settings)
        assert whole.shape == (70, 3, size, size)
        assert whole.dtype == torch.uint8
        for rows in ([0], [69], [5, 3], list(range(17)), list(range(69, -1, -1))):
            assert torch.equal(render(table.iloc[rows], settings), whole[rows])


def test_an_image_does_not_depend_on_the_number_of_threads() -> None:
    settings, table = ToyFaces(size=64), draw_factors(17, seed=3)
    threads = torch.get_num_threads()
    images = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            images.append(render(table, settings))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*images)


# SHA-256 of what is drawn of `_everything()`, by version and domain.
DRAWN: dict[int, dict[str, str]] = {
    3: {
        "camera": "7ee5f2aea6277816b6d3e30067d4d79f2159d36f002001ad6811cc41407fbb75",
        "studio": "52ec289c2c30e604b646899193751b7785dbe95e9fc231d357ffee439aacc6a9",
    },
}


def _everything() -> pd.DataFrame:
    """Two hundred faces, of which the first six have, or have not, everything that can be drawn."""
    table = draw_factors(200, seed=2)
    first = table[:6].assign(
        Smiling=[1, 0, 1, 0, 1, 0],
        Mouth_Slightly_Open=[0, 1, 1, 0, 0, 1],
        Eyeglasses=[0, 1, 0, 0, 1, 0],
        Wearing_Hat=[0, 0, 1, 0, 0, 1],
        Male=[0, 1, 0, 1, 0, 1],
        Beard=[0, 1, 0, 0, 0, 0],
        Wearing_Earrings=[1, 0, 0, 0, 1, 0],
        Young=[0, 0, 1, 1, 1, 1],
        hair_style=["long", "short", "bob", "bald", "bun", "short"],
        Wavy_Hair=[1, 0, 0, 0, 0, 1],
    )
    return pd.concat([first, table[6:]])


def _digest(domain: str) -> str:
    images = render(_everything(), ToyFaces(size=32, domain=domain))
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_version_stands_for_these_pixels(domain: str) -> None:
    drawn = _digest(domain)
    advice = (
        "runs are named by toyfaces.VERSION: raise VERSION when pixels or factors change on "
        f"purpose, and record in DRAWN, for {domain!r}, {drawn}"
    )
    assert toyfaces.VERSION in DRAWN, advice
    assert drawn == DRAWN[toyfaces.VERSION][domain], advice


@pytest.mark.parametrize("mkl", ["COMPATIBLE", "AVX2"])
def test_pixels_are_the_same_in_other_numerics(mkl: str) -> None:
    # torch.sqrt is not: of MKL's kinds these two differ in a fifth of all values. A process of its
    # own, because MKL reads the variable once.
    code = "import test_toyfaces as t; print(t._digest('camera'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MKL_CBWR": mkl, "ATEN_CPU_CAPABILITY": "default"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == _digest("camera")


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    short, long = generate(SMALL), generate(replace(SMALL, n=100))
    assert torch.equal(long.images[:40], short.images)
    pd.testing.assert_frame_equal(long.attributes.iloc[:40], short.attributes)
    np.testing.assert_array_equal(long.part[:40], short.part)
    assert not torch.equal(generate(replace(SMALL, seed=4)).images, short.images)


def test_a_set_says_what_it_is() -> None:
    camera = generate(replace(SMALL, n=200))
    assert camera.name == "toyfaces"
    assert dict(camera.skipped) == {}
    assert camera.sha256 == {"toyfaces camera": fingerprint(replace(SMALL, n=200))}
    assert list(camera.attributes) == list(ATTRIBUTES)
    parts, counts = np.unique(camera.part, return_counts=True)
    assert dict(zip(parts, counts, strict=True)) == {"train": 120, "validation": 30, "test": 50}
    studio = generate(replace(SMALL, domain="studio"))
    assert (studio.part == "train").all()
    assert studio.sha256 == {"toyfaces studio": fingerprint(replace(SMALL, domain="studio"))}
    assert not set(studio.attributes.index) & set(camera.attributes.index)
    np.testing.assert_array_equal(camera.attribute("Male"), factors(replace(SMALL, n=200))["Male"])


def test_the_factors_of_a_set_are_those_that_were_drawn() -> None:
    table = factors(SMALL)
    drawn = draw_factors(40, seed=3)
    pd.testing.assert_frame_equal(table.reset_index(drop=True), drawn)
    assert table.index[17] == "camera-s3-000017"
    assert torch.equal(render(table, SMALL), generate(SMALL).images)
    # Both domains draw the same people.
    studio = factors(replace(SMALL, domain="studio"))
    pd.testing.assert_frame_equal(studio.reset_index(drop=True), drawn)


# Where a factor shows, as rows and columns of a 64 x 64 image of a frontal head in the middle.
REGIONS = {
    "Smiling": (0, 1, slice(26, 64), slice(14, 50)),  # the eyes, too, narrow a little
    "Mouth_Slightly_Open": (0, 1, slice(42, 64), slice(18, 46)),
    "Eyeglasses": (0, 1, slice(26, 42), slice(10, 54)),
    "Wearing_Hat": (0, 1, slice(0, 28), slice(4, 60)),
    "Beard": (0, 1, slice(36, 60), slice(14, 50)),
    "Wearing_Earrings": (0, 1, slice(36, 52), slice(8, 56)),
}


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("name", REGIONS)
def test_a_factor_changes_pixels_where_it_should(name: str, domain: str) -> None:
    off, on, rows, columns = REGIONS[name]
    male = {"Male": 1} if name == "Beard" else {"Male": 0} if name == "Wearing_Earrings" else {}
    # No optics, which would spread a change over its surroundings.
    settings = ToyFaces(domain=domain, clutter=0, noise=0)
    difference = _changed(name, off, on, settings, blur=0.0, **male)
    inside = difference[rows, columns].sum()
    assert difference.max() > 10
    assert inside > 0.9 * difference.sum()
    # Most of all it changes the mouth.
    if name == "Smiling":
        assert 44 <= int(difference.sum(dim=1).argmax()) <= 60


@pytest.mark.parametrize("domain", DOMAINS)
def test_what_concerns_the_whole_head_shows(domain: str) -> None:
    settings = ToyFaces(domain=domain, clutter=0, noise=0)
    pairs = {
        "Male": (0, 1),
        "Young": (0, 1),
        "Wavy_Hair": (0, 1),
        "hair_style": ("short", "long"),
        "hair_colour": ("black", "grey"),
        "yaw": (-0.7, 0.7),
        "skin": (0.1, 0.9),
        "clothing": ("red", "white"),
        "background": ("blue", "beige"),
    }
    for name, (off, on) in pairs.items():
        assert _changed(name, off, on, settings).mean() > 0.25, name
    hat = _changed("hat_colour", "red", "straw", settings, Wearing_Hat=1)
    assert hat[:28].sum() > 0.9 * hat.sum()
    # The colour of a hat that nobody wears, and the brim of it, are not seen.
    assert _changed("hat_colour", "red", "straw", settings).max() == 0
    assert _changed("brim", 0.0, 0.9, settings).max() == 0


def test_the_studio_is_the_camera_where_there_is_no_gap() -> None:
    camera = generate(replace(SMALL, domain="camera"))
    distance = []
    for gap in (0.0, 0.25, 0.5, 1.0, 1.5):
        studio = generate(replace(SMALL, domain="studio", domain_gap=gap))
        distance.append(float((studio.images.float() - camera.images.float()).abs().mean()))
    assert distance[0] == 0
    assert distance == sorted(set(distance))
    assert distance[3] > 10
    # The camera itself does not depend on the gap.
    assert torch.equal(generate(replace(SMALL, domain_gap=0.3)).images, camera.images)


@pytest.mark.parametrize("domain", DOMAINS)
def test_strength_is_how_much_a_factor_shows(domain: str) -> None:
    def effect(name: str, **settings: float) -> float:
        return float(_changed(name, 0, 1, ToyFaces(domain=domain, **settings)).mean())  # type: ignore[arg-type]

    assert effect("Smiling", smile_strength=0.5) < effect("Smiling")
    # Without gendered cues Male is not to be seen, but by beard, earrings and hair, held here.
    assert effect("Male", gender_strength=0) == 0
    assert 0 < effect("Male", gender_strength=0.5) < effect("Male")


def test_clutter_is_behind_the_face_and_noise_is_everywhere() -> None:
    table = draw_factors(60, seed=5).assign(blur=0.0, hair_style="short", Wearing_Hat=0)

    def moved(**settings: float) -> Tensor:
        base = render(table, ToyFaces(clutter=0, noise=0)).float()
        other = render(table, replace(ToyFaces(clutter=0, noise=0), **settings)).float()  # type: ignore[arg-type]
        return (other - base).abs().mean(dim=(0, 1))

    clutter, noise = moved(clutter=1), moved(noise=1)
    assert clutter[:, :6].mean() > 3
    assert clutter[30:50, 26:38].max() == 0
    assert noise.min() > 1
    assert moved(noise=2).mean() > 1.5 * noise.mean()


def test_the_fingerprint_names_settings_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ToyFaces()
    other = {"domain": "studio", "size": 32}
    digests = {fingerprint(settings)}
    for name, value in asdict(settings).items():
        digests.add(fingerprint(replace(settings, **{name: other.get(name) or value + 1})))
    assert len(digests) == 1 + len(asdict(settings))
    assert all(len(digest) == 64 for digest in digests)
    # Equal settings have equal names, however the number was written.
    for same in (ToyFaces(noise=1), ToyFaces(seed=np.int64(0), clutter=np.float64(1))):  # type: ignore[arg-type]
        assert fingerprint(same) == fingerprint(settings)
    assert fingerprint(ToyFaces(noise=-0.0)) == fingerprint(ToyFaces(noise=0))
    monkeypatch.setattr(toyfaces, "VERSION", toyfaces.VERSION + 1)
    assert fingerprint(settings) not in digests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"seed": -1}, "seed not negative"),
        ({"size": 50}, "multiple of 8 from 16 to 512"),
        ({"size": 8}, "multiple of 8 from 16 to 512"),
        ({"size": 1024}, "multiple of 8 from 16 to 512"),
        ({"noise": -0.1}, "noise must be finite and not negative"),
        ({"smile_strength": float("nan")}, "smile_strength must be finite"),
        ({"domain_gap": float("inf")}, "domain_gap must be finite"),
    ],
)
def test_meaningless_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ToyFaces(**changes)


def test_unknown_names_and_wrong_numbers_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown domain 'studo'; did you mean 'studio'"):
        ToyFaces(domain="studo")
    with pytest.raises(TypeError):
        ToyFaces(n=10.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must not be negative"):
        draw_factors(-1, seed=0)
