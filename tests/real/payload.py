"""The nixadmin under test, as a directory that every host sees read-only at `rootfs.PAYLOAD_DIR`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from tests.real.rootfs import cache_dir, locked

CHECKOUT = Path(__file__).resolve().parents[2]


def payload() -> Path:
    """What a host sees as PAYLOAD_DIR: this checkout's nixadmin and, beside it, its dependencies.

    Copied rather than bound, so that an edit during a test run cannot reach half of the hosts, and compiled,
    because the host sees it read-only and would compile it again at every start.
    """
    files = sorted(
        path
        for part in ("nixadmin", "units")
        for path in (CHECKOUT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    digest = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes())
    for path in files:
        digest.update(f"{path.relative_to(CHECKOUT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    place = cache_dir().parent / "payload" / digest.hexdigest()[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    site = _dependencies()
    with locked(place):
        if not place.exists():
            unfinished = place.with_name(place.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            for path in files:
                target = unfinished / "source" / path.relative_to(CHECKOUT)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            subprocess.run(["cp", "-al", site, unfinished / "site"], check=True)
            _compile(unfinished / "source")
            unfinished.rename(place)
            _forget_old(place.parent)
    os.utime(place)
    return place


def _dependencies() -> Path:
    """The installed dependencies for CPython 3.11 on Linux, in a directory of their own."""
    needed: list[str] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    key = hashlib.sha256("\n".join(sorted(needed)).encode()).hexdigest()[:16]
    place = cache_dir().parent / "site" / key
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place):
        if not place.exists():
            unfinished = place.with_name(place.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            if sys.version_info[:2] != (3, 11):
                raise RuntimeError("the hosts have Python 3.11: run the tests with it, so that pip picks their wheels")
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            _run([*pip, "--root-user-action", "ignore", "--no-compile", "--target", unfinished, *needed])
            _compile(unfinished)
            unfinished.rename(place)
    return place


def _compile(directory: Path) -> None:
    _run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", directory])


def _run(command: list[str | Path]) -> None:
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{command} failed\n{process.stdout}")


def _forget_old(directory: Path, days: float = 2) -> None:
    """Remove what no test run has used for some days: every edit of the checkout makes another copy."""
    for place in directory.iterdir():
        if time.time() - place.stat().st_mtime > days * 86400:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
