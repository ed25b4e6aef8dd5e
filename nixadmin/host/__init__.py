"""The host: every look at, and change to, the machine."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nixadmin.host.accounts import Accounts
from nixadmin.host.files import Files
from nixadmin.host.processes import Account, Completed, run

# What long work tells about itself: what it does, how much is done, and of how much.
Progress = Callable[[str, int, int], None]


class Host:
    """A Linux host, or (root=…) a directory that stands in for one."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.files = Files(root)
        self.accounts = Accounts(root)
        self.progress: Progress = lambda _what, _done, _total: None

    @property
    def is_stand_in(self) -> bool:
        return self.root != Path("/")

    def at(self, path: Path) -> Path:
        """Where `path` of the host really is."""
        return self.root / path.relative_to("/")

    def uid(self, name: str) -> int:
        """The uid of a user, given by name or by number."""
        return self.accounts.uid(name)

    def gid(self, name: str) -> int:
        """The gid of a group, given by name or by number."""
        return self.accounts.gid(name)

    def user_label(self, uid: int) -> str:
        """The user's name, or the number of a uid that nobody has."""
        user = self.accounts.user_by_id(uid)
        return user.name if user else str(uid)

    def group_label(self, gid: int) -> str:
        """The group's name, or the number of a gid that no group has."""
        group = self.accounts.group_by_id(gid)
        return group.name if group else str(gid)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        ok: Sequence[int] = (0,),
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
        account: Account | None = None,
        timeout: float | None = None,
    ) -> Completed:
        """Run a program; see `nixadmin.host.processes.run`, which gives the errors too."""
        return run(argv, ok=ok, env=env, stdin=stdin, cwd=cwd, account=account, timeout=timeout)

    def run_inside(
        self, argv: Sequence[str | Path], *, ok: Sequence[int] = (0,), env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Completed:  # fmt: skip
        """Run a program that the host itself holds: in a stand-in, with the stand-in as its root directory."""
        inside = ["chroot", self.root, *argv] if self.is_stand_in else list(argv)
        return run(inside, ok=ok, env=env, stdin=stdin)
