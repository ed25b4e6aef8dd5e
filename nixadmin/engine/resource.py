"""The central idea: a resource is a value, and the host holds another value of the same type."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from nixadmin.engine.step import Step
from nixadmin.errors import ConflictError
from nixadmin.host import Host


class Resource(BaseModel, ABC):
    """One thing on the host, as it should be or as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kinds: ClassVar[dict[str, type["Resource"]]] = {}
    kind: str

    @classmethod
    @override
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        Resource.kinds[cls.model_fields["kind"].default] = cls

    @property
    @abstractmethod
    def key(self) -> str:
        """What tells this resource from others of its kind."""

    @property
    def id(self) -> str:
        return f"{self.kind} {self.key}"

    @property
    def follows(self) -> frozenset[str]:
        """The ids of resources whose change makes this one `stale`."""
        return frozenset()

    @property
    def holds_data(self) -> bool:
        """Whether people's own data lives in it, so that uninstall keeps it unless told to purge."""
        return False

    @abstractmethod
    def observe(self, host: Host) -> Self | None:
        """The same resource as the host has it now, or None.

        Raises ConflictError when something of another kind stands in its place.
        """

    @abstractmethod
    def create(self) -> Iterator[Step]:
        """Steps from nothing to this."""

    @abstractmethod
    def remove(self) -> Iterator[Step]:
        """Steps from this to nothing."""

    def alter(self, before: Self) -> Iterator[Step]:
        """Steps from `before` to this.

        Raises ConflictError (the default) when this kind cannot be altered safely.
        """
        raise ConflictError(f"{self.id} exists and differs: {', '.join(self.differences(before))}")
        yield  # pragma: no cover - makes this a generator like its overrides

    def keep(self) -> Iterator[Step]:
        """Steps that lay a copy of this aside, before a person's work in it is replaced."""
        return iter(())

    def tidy(self, host: Host) -> None:
        """Remove what a run that was killed has left half-made beside it."""

    def stale(self, host: Host) -> Self:
        """How this, observed on the host, will read once something that it follows has changed."""
        return self

    def remembered(self, host: Host) -> Self:
        """This, now that it is on the host, with what could not be known when it was declared."""
        return self

    def edited(self, since: Self) -> bool:
        """Whether this, observed now, bears a person's work that `since`, which nixadmin left, did not."""
        return False

    def public(self) -> Self:
        """This, without what only root may see of it."""
        return self

    def differences(self, before: Self) -> Iterator[str]:
        """What differs from `before`, for people: `mode 0777 → 0755`."""
        for field in type(self).model_fields:
            old, new = getattr(before, field), getattr(self, field)
            if old != new:
                yield f"{field.replace('_', ' ')} {shown(field, old)} → {shown(field, new)}"


def shown(field: str, value: object) -> str:
    """A field's value as an administrator writes it."""
    if field == "mode" and isinstance(value, int):
        return f"{value:04o}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(map(str, value))) or "none"
    return "none" if value is None else str(value)
