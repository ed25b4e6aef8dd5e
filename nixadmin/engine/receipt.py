"""What nixadmin did to this host, and what was there before."""

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    field_validator,
)

from nixadmin.engine.resource import Resource
from nixadmin.errors import NixadminError
from nixadmin.host import Host

# Outside every tree that it describes, and readable by root alone: a file that it remembers may hold a secret.
PATH = Path("/var/lib/nixadmin/receipt.json")
# The same without the secrets, so that anybody can see whether the host is still as declared.
PUBLIC = PATH.with_name("public.json")
# Stands for a secret where everybody may read.
HIDDEN = "hidden"
VERSION = 1


class Entry(BaseModel):
    """One resource: what was there before nixadmin first touched it, what it made, and since when.

    While a change is under way (not `done`), `earlier` is all that nixadmin had made, or begun to make, before it.
    """

    model_config = ConfigDict(frozen=True)
    before: SerializeAsAny[Resource] | None
    after: SerializeAsAny[Resource]
    earlier: tuple[SerializeAsAny[Resource], ...] = ()
    since: datetime
    done: bool = False

    @field_validator("before", "after", "earlier", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        if isinstance(value, dict):
            return Resource.kinds[value["kind"]].model_validate(value)
        if isinstance(value, list):
            return tuple(map(cls._of_its_kind, value))
        return value


class Receipt(BaseModel):
    """Data, not verbs, so that a later nixadmin can undo what an earlier one did."""

    version: int = VERSION
    # Options that were given for one run and hold for the next ones too, by their names.
    wishes: dict[str, JsonValue] = {}
    entries: dict[str, Entry] = {}
    _order: dict[str, int] = PrivateAttr(default={})

    @classmethod
    def load(cls, host: Host, *, public: bool = False) -> Self:
        """Read the host's receipt; an empty one if there is none; with `public`, what everybody may read of it.

        Raises NixadminError when it is unreadable, damaged, or written by a newer nixadmin.
        """
        path = PUBLIC if public and os.geteuid() != 0 else PATH
        try:
            data = json.loads(host.files.read(path))
            if data["version"] > VERSION:
                raise NixadminError(
                    f"{path} was written by a newer nixadmin (receipt version {data['version']})",
                    "use that nixadmin, or a newer one",
                )
            return cls.model_validate(data)
        except FileNotFoundError:
            return cls()
        except PermissionError as e:
            raise NixadminError(f"{path} may be read by root alone", "run this as root") from e
        except OSError as e:
            raise NixadminError(f"{path} cannot be read: {e.strerror}", f"look at it: ls -ld {path}") from e
        except (ValueError, KeyError, TypeError, ValidationError) as e:
            reason = str(e).splitlines()[0]
            raise NixadminError(
                f"{PATH} is damaged: {reason}", f"restore it from a backup, or move it away: mv {PATH} {PATH}.damaged"
            ) from e

    def follow(self, declared: Iterable[Resource]) -> None:
        """Keep the order of declaration, whenever things were made: undoing is its reverse."""
        self._order = {resource.id: place for place, resource in enumerate(declared)}

    def first_before(self, id_: str, otherwise: Resource | None) -> Resource | None:
        """What was there before nixadmin came, however often it has changed the thing since."""
        return self.entries[id_].before if id_ in self.entries else otherwise

    def begin(self, before: Resource | None, after: Resource, now: datetime) -> bool:
        """Note a change that is about to be made. False if this was noted already."""
        known = self.entries.get(after.id)
        earlier = tuple(one for one in (*known.earlier, known.after) if one != after) if known else ()
        entry = Entry(
            before=self.first_before(after.id, before),
            after=after,
            earlier=earlier,
            since=known.since if known else now,
        )
        if known == entry:
            return False
        self.entries[after.id] = entry
        return True

    def finish(self, id_: str) -> None:
        """Note that the host is as this entry says."""
        self.entries[id_] = self.entries[id_].model_copy(update={"done": True, "earlier": ()})

    def forget(self, id_: str) -> None:
        """Note that nothing of nixadmin's is left there."""
        self.entries.pop(id_, None)

    def save(self, host: Host) -> None:
        """Write it to the host, whole or not at all; an empty receipt leaves no file and no directory."""
        home = PATH.parent
        if not self.entries:
            for path in (PUBLIC, PATH):
                host.files.tidy(path)
                host.files.remove(path)
            if not host.files.names(home):
                host.files.remove(home)
            return
        last = len(self._order)
        # What is declared no more was made for something that is: it stays behind what it was made after.
        self.entries = dict(sorted(self.entries.items(), key=lambda e: self._order.get(e[0], last)))
        found = host.files.inode(home)
        if found is None or found.mode != 0o755:  # a run that was killed may have made it, and no more
            host.files.make_directory(home, 0o755, 0, 0)
        # First: when only one of them was written, the other one tells the next run to write both.
        host.files.write(PUBLIC, self._without_secrets().model_dump_json(indent=1).encode(), 0o644, 0, 0)
        host.files.write(PATH, self.model_dump_json(indent=1).encode(), 0o600, 0, 0)

    def _without_secrets(self) -> "Receipt":
        entries = {
            id_: entry.model_copy(
                update={
                    "before": entry.before and entry.before.public(),
                    "after": entry.after.public(),
                    "earlier": tuple(one.public() for one in entry.earlier),
                }
            )
            for id_, entry in self.entries.items()
        }
        hidden = {
            name: dict.fromkeys(value, HIDDEN) if name.startswith("secret") and isinstance(value, dict) else value
            for name, value in self.wishes.items()
        }
        return self.model_copy(update={"entries": entries, "wishes": hidden})
