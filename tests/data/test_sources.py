from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from repro.data import sources
from repro.data.sources import DataError, SourceFile, cache_root, data_root, digest_of, find_file

CONTENT = b"39, State-gov\n" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PAGE = "https://example.org/page"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        if self.path != "/cut":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:5000])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "good").write_bytes(CONTENT)
    (folder / "wrong").write_bytes(b"<html>log in first</html>")
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=partial(http.serve_forever, poll_interval=0.01))
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_DATA", str(tmp_path / "root"))
    return tmp_path / "root"


def _file(url: str) -> SourceFile:
    return SourceFile("some.csv", DIGEST, url, PAGE)


@pytest.mark.parametrize(
    ("folder_of", "variable", "name"),
    [(data_root, "REPRO_DATA", "repro-data"), (cache_root, "REPRO_CACHE", "repro-cache")],
)
def test_a_folder_is_the_named_one_else_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    folder_of: Callable[[], Path],
    variable: str,
    name: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in (str(tmp_path / "sets"), "~/sets"):
        monkeypatch.setenv(variable, named)
        assert folder_of() == tmp_path / "sets"
    monkeypatch.setenv(variable, "")
    for xdg, folder in ((str(tmp_path / "xdg"), "xdg"), ("relative", ".cache"), ("", ".cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        assert folder_of() == tmp_path / folder / name


def test_a_present_file_is_used_and_nothing_fetched(root: Path) -> None:
    path = root / "set" / "some.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert find_file("set", _file("http://127.0.0.1:9/")) == path


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"\n", b""])
def test_a_present_wrong_file_is_refused_and_kept(root: Path, content: bytes) -> None:
    path = root / "set" / "some.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        find_file("set", _file("http://127.0.0.1:9/"))
    message = str(caught.value)
    wrong = hashlib.sha256(content).hexdigest()
    for part in (str(path), wrong, DIGEST, f"{len(content)} bytes", "truncated", "delete it", PAGE):
        assert part in message
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_file_is_an_error(root: Path) -> None:
    (root / "set" / "some.csv").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be read"):
        find_file("set", _file("http://127.0.0.1:9/"))


def test_an_absent_file_is_downloaded_whole(
    monkeypatch: pytest.MonkeyPatch, root: Path, server: str
) -> None:
    root = root / "not" / "there" / "yet"
    monkeypatch.setenv("REPRO_DATA", str(root))
    path = find_file("set", _file(f"{server}/good"))
    assert path == root / "set" / "some.csv"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("wrong", hashlib.sha256(b"<html>log in first</html>").hexdigest()),
        ("cut", "5000 bytes"),
        ("absent", "404"),
    ],
)
def test_a_bad_download_leaves_nothing(root: Path, server: str, where: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        find_file("set", _file(f"{server}/{where}"))
    message = str(caught.value)
    for part in (reason, f"{server}/{where}", PAGE, str(root / "set" / "some.csv"), "REPRO_DATA"):
        assert part in message
    assert not root.exists()


def test_a_bad_download_leaves_other_files_alone(root: Path, server: str) -> None:
    (root / "set").mkdir(parents=True)
    other = root / "set" / "other.csv"
    other.write_bytes(b"precious")
    with pytest.raises(DataError):
        find_file("set", _file(f"{server}/wrong"))
    assert list(other.parent.iterdir()) == [other]


def test_an_interrupted_download_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, root: Path, server: str
) -> None:
    def interrupted(self: requests.Response, **_: Any) -> Iterator[bytes]:
        yield CONTENT[:100]
        raise KeyboardInterrupt

    monkeypatch.setattr(requests.Response, "iter_content", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_file("set", _file(f"{server}/good"))
    assert not root.exists()


def test_a_server_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, root: Path, server: str
) -> None:
    assert 0 < sources.TIMEOUT_SECONDS <= 60
    monkeypatch.setattr(sources, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DataError, match=r"could not be downloaded: .*timed out"):
        find_file("set", _file(f"{server}/slow"))
    assert not root.exists()


def test_no_download_when_it_is_off(root: Path, server: str) -> None:
    path = root / "set" / "some.csv"
    with pytest.raises(DataError) as caught:
        find_file("set", _file(f"{server}/good"), download=False)
    for part in ("some.csv", PAGE, f"put it at {path}", "REPRO_DATA"):
        assert part in str(caught.value)
    assert not root.exists()


def test_the_address_stands_in_for_an_absent_page(root: Path) -> None:
    file = SourceFile("some.csv", DIGEST, "https://example.org/some.csv")
    with pytest.raises(DataError, match=r"from https://example\.org/some\.csv and put it at"):
        find_file("set", file, download=False)


def test_a_root_that_cannot_be_written_is_named(root: Path, server: str) -> None:
    root.write_bytes(b"a file where a folder should be")
    with pytest.raises(DataError, match="cannot be kept in") as caught:
        find_file("set", _file(f"{server}/good"))
    assert str(root / "set") in str(caught.value)
    assert root.read_bytes() == b"a file where a folder should be"


def test_a_read_only_root_is_named(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    # Simulated, because the administrator, whom tests in containers run as, may write anywhere.
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("the network is asked"))
    with pytest.raises(DataError, match=r"cannot be kept in .*Read-only file system.*REPRO_DATA"):
        find_file("set", _file("http://127.0.0.1:9/"))


def test_an_address_that_is_none_is_a_data_error(root: Path) -> None:
    with pytest.raises(DataError, match="could not be downloaded"):
        find_file("set", _file("no address"))
    assert not root.exists()


def _forbid_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))


def test_a_file_is_hashed_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(CONTENT)
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    assert (digest_of(path), digest_of(path, "md5")) == (DIGEST, md5)
    assert {entry.suffix for entry in (cache / "digests").iterdir()} == {".json"}
    with monkeypatch.context() as patch:
        _forbid_hashing(patch)
        assert (digest_of(path), digest_of(path, "md5")) == (DIGEST, md5)


@pytest.mark.parametrize("change", ["time", "size", "copy"])
def test_a_file_that_may_have_changed_is_hashed_again(
    cache: Path, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(CONTENT)
    assert digest_of(path) == DIGEST
    status = path.stat()
    other = CONTENT[:-1] if change == "size" else CONTENT[::-1]
    path = path if change != "copy" else tmp_path / "other.zip"
    path.write_bytes(other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (change == "time")))
    assert digest_of(path) == hashlib.sha256(other).hexdigest()


@pytest.mark.parametrize("noted", ["", "{}", "[]", "null", '["sha256", 1]', "\\xff"])
def test_a_damaged_note_is_not_believed(cache: Path, tmp_path: Path, noted: str) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(CONTENT)
    digest_of(path)
    (note,) = (cache / "digests").iterdir()
    good = note.read_text()
    assert json.loads(good)[-1] == DIGEST
    note.write_text(noted)
    assert digest_of(path) == DIGEST
    assert note.read_text() == good


def test_a_digest_needs_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(CONTENT)
    monkeypatch.setenv("REPRO_CACHE", str(path / "inside a file"))
    assert digest_of(path) == DIGEST
    with pytest.raises(DataError, match=r"absent\.zip cannot be read"):
        digest_of(tmp_path / "absent.zip")
