from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.conftest import tarred, zipped

from repro.data import imagecache
from repro.data.imagecache import image_members, load_images
from repro.data.images import decode
from repro.data.sources import DataError

N = 300  # more than one chunk
NAMES = [f"set/{i:03}.png" for i in range(N)]


def _png(i: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (i % 256, i // 256, 7)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    return {name: _png(i) for i, name in enumerate(NAMES)}


def _write(path: Path, contents: dict[str, bytes]) -> Path:
    return (zipped if path.suffix == ".zip" else tarred)(path, contents)


@pytest.fixture
def archive(tmp_path: Path, contents: dict[str, bytes]) -> Path:
    return _write(tmp_path / "set.zip", contents)


def _load(archive: Path, names: list[str] = NAMES, **options: Any) -> torch.Tensor:
    return load_images("set", archive, names, 4, **{"digest": "d", **options})


def _files(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "images").glob("*") if path.suffix != ".lock")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_images_come_in_the_order_of_the_names(
    tmp_path: Path, contents: dict[str, bytes], suffix: str
) -> None:
    archive = _write(tmp_path / f"set{suffix}", dict(reversed(contents.items())))
    names = NAMES[::3]
    images = _load(archive, names)
    assert images.dtype == torch.uint8
    assert images.shape == (100, 3, 4, 4)
    for i, name in enumerate(names):
        assert np.array_equal(images[i].numpy(), decode(contents[name], 4, name))


@pytest.mark.parametrize("threaded_bytes", [0, 10**9])
def test_threads_change_nothing(
    archive: Path, monkeypatch: pytest.MonkeyPatch, threaded_bytes: int
) -> None:
    monkeypatch.setattr(imagecache, "_THREADED_BYTES", threaded_bytes)
    images = _load(archive)
    assert images[:, 0, 2, 2].tolist() == [i % 256 for i in range(N)]


def test_the_second_time_nothing_is_decoded(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _load(archive)
    assert "300/300" in capsys.readouterr().err
    monkeypatch.setattr(imagecache, "decode", lambda *_, **__: pytest.fail("decoded again"))
    assert torch.equal(_load(archive), first)
    archive.unlink()  # not even opened
    assert torch.equal(_load(archive), first)


def test_what_the_pixels_depend_on_names_the_cache(archive: Path, cache: Path) -> None:
    _load(archive)
    _load(archive, digest="other")
    _load(archive, NAMES[:5])
    _load(archive, NAMES[4::-1])
    _load(archive, crop=0.5)
    load_images("set", archive, NAMES, 2, digest="d")
    assert len(_files(cache)) == 6


def _photo(i: int, width: int = 6, height: int = 9) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_frames_keep_their_own_pixels(tmp_path: Path, cache: Path, suffix: str) -> None:
    photos = {f"{i}.png": _photo(i) for i in range(5)}
    archive = _write(tmp_path / f"set{suffix}", photos)
    names = ["3.png", "0.png", "4.png"]
    for _ in range(2):  # the second time from the cache alone
        images = load_images("set", archive, names, None, digest="d")
        assert images.shape == (3, 3, 9, 6)
        for image, name in zip(images, names, strict=True):
            expected = np.asarray(Image.open(io.BytesIO(photos[name])))
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)
        archive.unlink(missing_ok=True)
    assert [path.split("-")[1] for path in _files(cache)] == ["frames"]


def test_frames_of_two_sizes_are_named(tmp_path: Path, cache: Path) -> None:
    photos = {"a.png": _photo(0), "b.png": _photo(1), "c.png": _photo(2, height=8)}
    archive = _write(tmp_path / "set.zip", photos)
    with pytest.raises(
        DataError, match=r"c\.png has 6x8 pixels, the first image has 6x9.*fetch the aligned"
    ):
        load_images("set", archive, [*photos], None, digest="d")
    assert not _files(cache)
    assert load_images("set", archive, [*photos], 4, digest="d").shape == (3, 3, 4, 4)


@pytest.mark.parametrize("fits", [True, False])
def test_writing_into_the_images_does_not_change_the_cache(
    archive: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    monkeypatch.setattr(imagecache, "fits_in_memory", lambda size: fits)
    images = _load(archive)
    before = images.clone()
    images.fill_(1)
    assert torch.equal(_load(archive), before)


@pytest.mark.parametrize(
    ("available", "read"),
    [(10**6, True), (2 * N * 48, True), (2 * N * 48 - 2, False), (0, False), (None, True)],
)
def test_what_does_not_fit_into_memory_is_streamed(
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    available: int | None,
    read: bool,
) -> None:
    for module in ("cache", "imagecache"):
        monkeypatch.setattr(f"repro.data.{module}.available_memory", lambda: available)
    taken: list[str] = []
    copy = np.array

    def watched(*arguments: Any, **options: Any) -> Any:
        if arguments and isinstance(arguments[0], np.memmap):
            taken.append(capsys.readouterr().err)
        return copy(*arguments, **options)

    monkeypatch.setattr(imagecache.np, "array", watched)
    images = _load(archive)
    assert bool(taken) == read
    # Said before it is taken.
    said = taken[0] if read else capsys.readouterr().err
    assert "300 images of 4x4 take 0 MB" in said
    assert ("read into memory" in said) == read
    assert ("streamed from the cache" in said) != read
    assert images[1, 0, 0, 0] == 1


@pytest.mark.parametrize("bad", [b"", b"no image", _png(9)[:40]])
def test_a_bad_image_is_named_and_leaves_no_cache(
    tmp_path: Path, cache: Path, contents: dict[str, bytes], bad: bytes
) -> None:
    archive = _write(tmp_path / "set.zip", contents | {NAMES[280]: bad})
    with pytest.raises(DataError, match=r"set\.zip: set/280\.png (is empty|cannot be decoded)"):
        _load(archive)
    assert _files(cache) == []
    _write(archive, contents)
    assert _load(archive)[280, 0, 0, 0] == 280 % 256


def test_a_missing_image_is_named_and_leaves_no_cache(archive: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"1 files that belong into it are missing, .*'set/x.png'"):
        _load(archive, [*NAMES, "set/x.png"])
    assert _files(cache) == []


def test_an_interrupted_decoding_leaves_no_cache(
    archive: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def interrupted(data: bytes, size: int, name: str, *, crop: float) -> np.ndarray:
        calls.append(name)
        if len(calls) > 270:
            raise KeyboardInterrupt
        return decode(data, size, name, crop=crop)

    with monkeypatch.context() as patch:
        patch.setattr(imagecache, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _load(archive)
    assert _files(cache) == []
    assert _load(archive)[299, 0, 0, 0] == 299 % 256


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], {}, "names must be given and unique"),
        (["a", "a"], {}, "names must be given and unique"),
        (["a"], {"size": 0}, "size must be at least 1"),
        (["a"], {"crop": 0.0}, "crop above 0"),
        (["a"], {"crop": 1.5}, "crop above 0"),
    ],
)
def test_bad_arguments(names: list[str], options: dict[str, Any], message: str) -> None:
    arguments = {"size": 4, "digest": "d", **options}
    with pytest.raises(ValueError, match=message):
        load_images("set", Path("absent.zip"), names, **arguments)


def test_image_members_are_keyed_by_the_end_of_their_path(tmp_path: Path) -> None:
    tree = {"out/b/1.jpg": b"", "out/a/1.JPG": b"", "out/a/list.txt": b"", "out/a/2.png": b""}
    archive = _write(tmp_path / "set.zip", tree)
    assert image_members(archive, depth=2) == {
        "a/1.JPG": "out/a/1.JPG",
        "a/2.png": "out/a/2.png",
        "b/1.jpg": "out/b/1.jpg",
    }
    _write(archive, {"a/1.jpg": b"", "b/1.jpg": b""})
    with pytest.raises(DataError, match=r"two images named 1\.jpg: a/1\.jpg and b/1\.jpg"):
        image_members(archive)
    _write(archive, {"a/list.txt": b""})
    with pytest.raises(DataError, match="holds no image"):
        image_members(archive)
