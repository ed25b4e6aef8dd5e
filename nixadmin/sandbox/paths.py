"""The chroot dirs: what of the host a build may see, entry by entry, and why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from typing_extensions import override

from nixadmin.errors import NixadminError
from nixadmin.sandbox.shell import Shell

# What Nix itself puts there. An entry over one of them would take it away from every build.
_TAKEN = tuple(map(Path, ("/", "/build", "/dev", "/proc", "/tmp", "/nix", "/nix/store")))
_SHELL = Path("/bin/sh")


@dataclass(frozen=True, slots=True)
class SandboxPath:
    """One entry of `sandbox-paths`: `target` in the sandbox shows `source` of the host.

    With `optional`, a source that is not there is no error.
    """

    target: Path
    source: Path
    reason: str
    optional: bool = False

    @classmethod
    def parse(cls, entry: str, reason: str) -> Self:
        """Read `TARGET=SOURCE`, or `PATH` where both are the same, with `?` at the end when it is optional.

        Raises NixadminError for what Nix would read as something else than is meant (nix.conf(5)).
        """
        target, equals, source = entry.removesuffix("?").partition("=")
        for word in (target, source if equals else target):
            if " " in word or not word.isprintable():
                raise NixadminError(f"the sandbox path {entry!r} holds a space", "nix.conf cannot name it: move it")
            if not word.startswith("/") or ".." in Path(word).parts or set(word) & set("=?#"):
                raise NixadminError(f"the sandbox path {entry!r} is not TARGET=SOURCE", "give two absolute paths")
        if Path(target) in _TAKEN:
            raise NixadminError(f"the sandbox path {entry!r} would hide what Nix shows there", "leave it out")
        return cls(Path(target), Path(source if equals else target), reason, entry.endswith("?"))

    @override
    def __str__(self) -> str:
        """As nix.conf(5) has it."""
        entry = str(self.target) if self.target == self.source else f"{self.target}={self.source}"
        return f"{entry}?" if self.optional else entry


def sandbox_paths(shell: Shell, more: Iterable[str] = ()) -> tuple[SandboxPath, ...]:
    """What `sandbox-paths` is to hold: the shell with all that it needs, then what the administrator adds.

    Nix (release notes) mounts single files since 1.6, where this is `build-chroot-dirs`, and adds the closure
    of a source in the store by itself since 1.9; it is named all the same: what is written is what is shown.

    Raises NixadminError for an entry that is malformed or whose target is taken.
    """
    entries = {path.target: path for path in _of_shell(shell)}
    for text in more:
        entry = SandboxPath.parse(text, "asked for in the configuration")
        there = entries.setdefault(entry.target, entry)
        if there.source != entry.source:
            hint = "name the shell with --sandbox-shell" if entry.target == _SHELL else "leave one of them out"
            raise NixadminError(f"{entry.target} would be both {there.source} and {entry.source}", hint)
    return tuple(entries.values())


def rows(paths: Iterable[SandboxPath]) -> Iterator[tuple[str, str, str]]:
    """For a table: what builds see, what of the host that is, and why."""
    for path in paths:
        yield f"{path.target}{' (optional)' if path.optional else ''}", str(path.source), path.reason


def _of_shell(shell: Shell) -> Iterator[SandboxPath]:
    what = f"{shell.name} {shell.version}"
    if shell.kind != "store-bash":
        what += ", static: it needs nothing else"
    if shell.copy:
        yield SandboxPath(_SHELL, shell.copy, f"{what}; a copy of {shell.source}")
        return
    yield SandboxPath(_SHELL, shell.source, what)
    for path in shell.closure:
        yield SandboxPath(path, path, "holds the shell" if shell.source.is_relative_to(path) else "the shell needs it")
