"""The users who have directories of their own in the store."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from nixadmin.report.paper import Line, columns


class StoreUser(Protocol):
    """A user by name, whether the host still knows them, and how much of the store is held for them."""

    @property
    def name(self) -> str: ...
    @property
    def has_account(self) -> bool: ...
    @property
    def generations(self) -> int: ...
    @property
    def roots(self) -> int: ...


def lines(users: Sequence[StoreUser]) -> Iterator[Line]:
    """A table, and what to do about those who are gone."""
    if not users:
        yield Line("No user has directories in the store.")
        return
    head = ("USER", "GENERATIONS", "ROOTS", "")
    rows = [
        (
            user.name,
            str(user.generations),
            str(user.roots),
            "" if user.has_account else "has no account any more",
        )
        for user in users
    ]
    first, *rest = columns([head, *rows], "")
    yield Line(first.text, "title")
    yield from rest
    gone = [user.name for user in users if not user.has_account]
    if gone:
        yield Line(f"`nixadmin users remove {gone[0]}` frees what {gone[0]} still holds.")


def data(users: Sequence[StoreUser]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "users": [
            {
                "name": user.name,
                "has_account": user.has_account,
                "generations": user.generations,
                "roots": user.roots,
            }
            for user in users
        ]
    }
