"""The ways that a host goes under nixadmin's hands, and where each leads when nothing disturbs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Imported here, once, rather than in each of a thousand processes.
import jinja2  # noqa: F401
import zstandard  # noqa: F401

from nixadmin.config import Config
from nixadmin.host import Host, decompress, tarball, unpack  # noqa: F401
from tests.cure import acts, standing
from tests.cure.acts import Tell
from tests.cure.dying import Event, Fate
from tests.cure.standing import Tree


@dataclass(frozen=True, slots=True)
class Journey:
    """From `start` (the name of another journey, or of an origin) by a verb to an end."""

    name: str
    start: str
    verb: str  # provision, or uninstall
    wishes: tuple[tuple[str, object], ...] = ()
    purge: bool = False

    @property
    def origin(self) -> str:
        return self.name.split(":")[0]

    def act(self, nix: str, tell: Tell = acts.silent) -> Callable[[Host], object]:
        if self.verb == "uninstall":
            return acts.uninstall(purge=self.purge, tell=tell)
        return acts.provision(Config.model_validate({"nix": nix, **dict(self.wishes)}), tell)


@dataclass(frozen=True, slots=True)
class _Linked:
    """In place of `unpack`: the same paths, as links to those that the real one has unpacked once."""

    store: Path

    def __call__(self, file: Path, store: Path, **_options: object) -> tarball.Contents:
        for path in self.store.iterdir():
            is_brought = path.name != ".links" and not path.name.endswith(
                ("-user-environment", ".drv", "-env-manifest.nix")
            )
            if is_brought and not (store / path.name).exists():
                if path.is_dir():
                    standing.copy(path, store / path.name, below_store=True)
                else:
                    os.link(path, store / path.name)
        return tarball.read_contents(file)


_FEWER = {"build_users": 8, "cores": 2, "proxy": "http://proxy:1"}
_MORE = {
    "build_users": 40,
    "max_jobs": 4,
    "proxy": "http://me:word@proxy:2",
    "secret_setting": {"access-tokens": "x=y"},
}


def _of(origin: str) -> list[Journey]:
    return [
        Journey(f"{origin}: provision", origin, "provision"),
        Journey(f"{origin}: fewer users", f"{origin}: provision", "provision", tuple(_FEWER.items())),
        Journey(f"{origin}: more users", f"{origin}: fewer users", "provision", tuple(_MORE.items())),
        Journey(f"{origin}: uninstall", f"{origin}: more users", "uninstall"),
        Journey(f"{origin}: purge", f"{origin}: more users", "uninstall", purge=True),
    ]


JOURNEYS = {journey.name: journey for origin in standing.ORIGINS for journey in _of(origin)}


class Atlas:
    """Every place that the journeys lead to, made when it is first wanted and never changed."""

    def __init__(self, workshop: Path, nix: str) -> None:
        self._workshop = workshop
        self.nix = nix
        self._made: dict[str, Path] = {}
        self.events: dict[str, list[Event]] = {}
        self.looks: dict[str, Tree] = {}
        # `link_instead` needs it in processes that end, and would make it there, unknown to this one.
        self.place("fresh: provision")

    def place(self, name: str) -> Path:
        """The tree at the end of a journey, or of an origin."""
        if name not in self._made:
            root = self._workshop / name.replace(": ", "-").replace(" ", "-")
            if name in standing.ORIGINS:
                standing.ORIGINS[name](root)
            else:
                journey = JOURNEYS[name]
                standing.copy(self.place(journey.start), root)
                fate = Fate()

                def act(host: Host) -> list[Event]:
                    journey.act(self.nix, fate.tell)(host)
                    return fate.events

                events = standing.in_process(root, act, fate.begin)
                assert isinstance(events, list)
                self.events[name] = events
            self._made[name] = root
            standing.remember_store(root)
            self.looks[name] = standing.look(root, times=name in standing.ORIGINS)
        return self._made[name]

    def link_instead(self) -> None:
        """From here on, in this process, have unpacked paths linked: a third of the time of all runs goes there."""
        unpack.unpack = _Linked(self.place("fresh: provision") / "nix/store")  # type: ignore[assignment]

    def fresh_copy(self, name: str, called: str) -> Path:
        """A copy to work on, at a path that the test may use again and again."""
        root = self._workshop / called
        if root.exists():
            shutil.rmtree(root)
        source = self.place(name)
        standing.copy(source, root)
        return root
