"""The way from what is to what should be."""

from dataclasses import dataclass
from typing import Literal

from nixadmin.engine.resource import Resource
from nixadmin.engine.step import Step


@dataclass(frozen=True, slots=True)
class Change:
    """A subject, what the host holds in its place, what it should hold, and the steps between.

    Either side may be None, which means absent. `takes_over` says that a person's work is replaced.
    """

    subject: Resource
    before: Resource | None
    after: Resource | None
    undoing: bool = False
    takes_over: bool = False

    @property
    def needed(self) -> bool:
        return self.before != self.after

    @property
    def sign(self) -> Literal["+", "~", "-"]:
        if self.before is None:
            return "+"
        return "-" if self.after is None else "~"

    def steps(self) -> tuple[Step, ...]:
        """The steps in order. Raises ConflictError where there is no safe way."""
        if not self.needed:
            return ()
        if self.after is None:
            assert self.before is not None
            return tuple(self.before.remove())
        if self.before is None:
            return tuple(self.after.create())
        return (*(self.before.keep() if self.takes_over else ()), *self.after.alter(self.before))

    def differences(self) -> tuple[str, ...]:
        """What differs, each as `mode 0777 → 0755`; empty where one side is absent."""
        if self.before is None or self.after is None:
            return ()
        return tuple(self.after.differences(self.before))
