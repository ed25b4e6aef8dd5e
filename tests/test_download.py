"""Downloads: right ones, and what must leave nothing behind."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from nixadmin.errors import NixadminError, UsageError
from nixadmin.host.download import download

DATA = os.urandom(3 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/whole":
                self._answer(200, len(DATA), DATA)
            case "/unsized":
                self._answer(200, None, DATA)
            case "/short":
                self._answer(200, len(DATA), DATA[:1000])
            case "/empty":
                self._answer(200, 0, b"")
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/whole")
                self.end_headers()
            case "/to-file":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
            case "/round":
                self.send_response(302)
                self.send_header("Location", "/round")
                self.end_headers()
            case _:
                self._answer(404, 4, b"none")

    def _answer(self, code: int, size: int | None, data: bytes) -> None:
        self.send_response(code)
        if size is not None:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(data)

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.mark.parametrize("name", ["whole", "unsized", "moved"])
def test_whole(tmp_path: Path, server: str, name: str) -> None:
    told: list[tuple[str, int, int]] = []
    download(f"{server}/{name}", tmp_path / "f", SHA256.upper(), lambda *words: told.append(words))
    assert (tmp_path / "f").read_bytes() == DATA
    assert told[-1] == ("downloading f", len(DATA), len(DATA))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", r"broke off after 1000 of \d+ bytes"),
        ("empty", "has SHA-256 e3b0c442"),
        ("missing", "cannot fetch .*: Not Found"),
        ("to-file", "cannot fetch"),
        ("round", "cannot fetch"),
    ],
)
def test_what_leaves_nothing(tmp_path: Path, server: str, name: str, message: str) -> None:
    with pytest.raises(NixadminError, match=message) as error:
        download(f"{server}/{name}", tmp_path / "f", SHA256)
    assert error.value.hint
    assert os.listdir(tmp_path) == []


def test_a_wrong_digest(tmp_path: Path, server: str) -> None:
    with pytest.raises(NixadminError, match=f"has SHA-256 {SHA256}, not {'0' * 64}"):
        download(f"{server}/whole", tmp_path / "f", "0" * 64)
    assert os.listdir(tmp_path) == []


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(NixadminError, match=r"cannot fetch http://127\.0\.0\.1:1/x"):
        download("http://127.0.0.1:1/x", tmp_path / "f", SHA256)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("url", ["ftp://h/x", "data:,x", "/etc/passwd", "", "HTTP//x"])
def test_other_schemes(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="cannot be downloaded"):
        download(url, tmp_path / "f", SHA256)


@pytest.mark.parametrize("url", ["http://", "http://h:99999/", "http://h\n/x", "https://[::1/x", "file://other.host/x"])
def test_addresses_that_are_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(NixadminError, match="cannot fetch"):
        download(url, tmp_path / "f", SHA256)
    assert os.listdir(tmp_path) == []


def test_a_file_url(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(DATA)
    download((tmp_path / "source").as_uri(), tmp_path / "f", SHA256)
    assert (tmp_path / "f").read_bytes() == DATA


def test_what_is_there_stays(tmp_path: Path, server: str) -> None:
    (tmp_path / "f").write_text("theirs")
    with pytest.raises(NixadminError, match="cannot write"):
        download(f"{server}/whole", tmp_path / "f", SHA256)
    assert (tmp_path / "f").read_text() == "theirs"


def test_stopped_by_the_user(tmp_path: Path, server: str) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done > 1 << 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{server}/whole", tmp_path / "f", SHA256, stop)
    assert os.listdir(tmp_path) == []


def test_it_costs_nothing_until_it_is_used() -> None:
    code = "import sys, nixadmin.host.download; print({'ssl', 'http.client', 'urllib.request'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"
