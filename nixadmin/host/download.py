"""Downloads whose digest is known."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from nixadmin import __version__
from nixadmin.errors import NixadminError

_TIMEOUT = 60.0  # seconds without a byte
_CHUNK = 1 << 18


def download(
    url: str,
    path: Path,
    sha256: str,
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None,
) -> None:
    """Fetch `url` to `path`; its SHA-256 (hexadecimal) is computed on the way, and a wrong one leaves no file.

    `progress` is told the bytes and, where the server says it, their total. Proxies are taken from the environment.

    Raises NixadminError when it cannot be fetched, or is not what it should be.
    """
    request = urllib.request.Request(url, headers={"User-Agent": f"nixadmin/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer, open(path, "xb") as file:
            total = int(answer.headers.get("Content-Length") or 0)
            hasher, done = hashlib.sha256(), 0
            while data := answer.read(_CHUNK):
                file.write(data)
                hasher.update(data)
                done += len(data)
                progress(f"downloading {path.name}", done, max(total, done))
            file.flush()
            os.fsync(file.fileno())
        if done < total:
            raise NixadminError(f"{url} broke off after {done} of {total} bytes", "run this again")
        if hasher.hexdigest() != sha256:
            raise NixadminError(
                f"{url} has SHA-256 {hasher.hexdigest()}, not {sha256}",
                "take the digest from a place that you trust, or the file from another",
            )
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as e:
        path.unlink(missing_ok=True)
        reason = getattr(e, "reason", None) or e
        raise NixadminError(f"cannot fetch {url}: {reason}", "look at the network and the proxy, or use a file") from e
    except BaseException:
        path.unlink(missing_ok=True)
        raise
