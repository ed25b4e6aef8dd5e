"""A disposable copy of a root file system: an overlay in memory that vanishes with the process that made it.

A keeper process holds a mount and a process namespace with the overlay in it. It lives as long as its
standard input is open, so that everything (mounts, memory, and whatever was started inside) goes when the
test closes the tree, and also when the test run is killed with SIGKILL: the kernel closes the pipe, the keeper
ends, and a process namespace does not outlive its first process.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real.snapshot import Snapshot, snapshot

PLACE = Path("/run/nixadmin")  # inside the keeper's namespace only

# /run is fresh so that nspawn's state about machines is private too.
_KEEPER = f"""\
set -eu
read -r pid _ < /proc/self/stat
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p {PLACE}/upper {PLACE}/work {PLACE}/root
chmod --reference="$1" {PLACE}/upper
mount -t overlay -o "lowerdir=$1,upperdir={PLACE}/upper,workdir={PLACE}/work,$2" overlay {PLACE}/root
mount -t proc proc /proc
echo "$pid"
trap '' CHLD  # inherited by cat: orphans are reaped by the kernel
exec cat > /dev/null
"""
# With these, a file that is not in the upper layer is surely the one of the same path in the lower layer.
_OPTIONS = "redirect_dir=off,metacopy=off,index=off"


class Tree:
    """A writable copy of the directory `lower`, which stays as it is. Made in about 10 ms."""

    def __init__(self, lower: Path) -> None:
        self.lower = lower
        self._keeper = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                _KEEPER,
                "keeper",
                lower,
                _OPTIONS,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which then close the tree
        )
        assert self._keeper.stdout is not None
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError(f"no overlay over {lower} (exit code {self._keeper.wait()}): are you root?")
        self.pid = int(line)

    @property
    def root(self) -> Path:
        """The tree as seen from outside, without what its host mounts over it."""
        return Path(f"/proc/{self.pid}/root{PLACE}/root")

    def command(self, *argv: str | Path) -> list[str]:
        """The command line which runs `argv` where this tree is mounted at PLACE/root."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--", *map(str, argv)]

    def snapshot(self, exclude: dict[str, str] | None = None) -> Snapshot:
        """The state of the tree now; `exclude` adds patterns to `snapshot.EXCLUDED`."""
        upper = Path(f"/proc/{self.pid}/root{PLACE}/upper")
        return snapshot(self.root, upper=upper, lower=self.lower, exclude=exclude)

    def close(self) -> None:
        """Give everything back. Closing twice is allowed."""
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
