"""Downloads whose digest is known."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nixadmin import __version__
from nixadmin.errors import NixadminError, UsageError

if TYPE_CHECKING:
    import ssl

_TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 1 << 18
_LARGEST = 4 << 30  # bytes: a server that never ends must not fill the disk
_SCHEMES = ("http://", "https://", "file://")


def download(
    url: str,
    path: Path,
    sha256: str,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> None:
    """Fetch `url` to the new file `path`; its SHA-256 (hexadecimal) is computed on the way.

    Whatever goes wrong, a wrong digest too, leaves no file. `progress` is told the bytes and, where the server says
    it, their total. Proxies are taken from the environment, and so are certificates (NIX_SSL_CERT_FILE).

    Raises UsageError for another scheme or what is no digest, and NixadminError when it cannot be fetched, or is not
    what it should be.
    """
    if not url.startswith(_SCHEMES):
        raise UsageError(f"{url} cannot be downloaded", f"begin it with {', '.join(_SCHEMES)}")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"{sha256!r} is not a SHA-256", "give the 64 hexadecimal digits that `sha256sum` prints")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise NixadminError(f"cannot write {path}: {e.strerror}", "see that it has room, and is writable") from e
    try:
        digest = _fetch(url, descriptor, lambda done, total: progress(f"downloading {path.name}", done, total))
        if digest != sha256.lower():
            raise NixadminError(
                f"{url} has SHA-256 {digest}, not {sha256.lower()}",
                "take the digest from a place that you trust, or the file from another",
            )
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _fetch(url: str, descriptor: int, progress: Callable[[int, int], None]) -> str:
    # Imported here: they take longer than most runs, which download nothing.
    import http.client
    import urllib.error
    import urllib.request

    hasher, done = hashlib.sha256(), 0
    with open(descriptor, "wb") as file:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": f"nixadmin/{__version__}"})
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=_certificates()) as answer:
                total = int(answer.headers.get("Content-Length") or 0)
                while data := answer.read(_CHUNK):
                    done += len(data)
                    if done > _LARGEST:
                        raise NixadminError(f"{url} has more than {_LARGEST >> 30} GiB", "is it a tarball of Nix?")
                    hasher.update(data)
                    file.write(data)
                    progress(done, max(total, done))
            file.flush()
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as e:
            reason = getattr(e, "reason", None) or e
            hint = "look at the network, the proxy and the disk, or copy the file here and name its path"
            raise NixadminError(f"cannot fetch {url}: {reason}", hint) from e
    if done < total:
        raise NixadminError(f"{url} broke off after {done} of {total} bytes", "run this again")
    return hasher.hexdigest()


def _certificates() -> "ssl.SSLContext":
    import ssl

    return ssl.create_default_context(cafile=os.environ.get("NIX_SSL_CERT_FILE") or None)
