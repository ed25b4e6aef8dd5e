"""What may be told of a resource: all but what a private file holds."""

from typing import Any

from nixadmin.engine.change import Change
from nixadmin.engine.resource import Resource

# What is told of a private file. All else that it has may be its secret.
_OUTSIDE = frozenset({"kind", "path", "mode", "owner", "group", "mtime_ns", "data", "init"})


def is_private(resource: Resource) -> bool:
    """Whether none but its owner may see what the resource holds."""
    mode = getattr(resource, "mode", None)
    return bool(getattr(resource, "private", False)) or (isinstance(mode, int) and not mode & 0o077)


def fields(resource: Resource | None) -> dict[str, Any] | None:
    """A resource for JSON. What must not be told of it is null."""
    if resource is None:
        return None
    values: dict[str, Any] = resource.model_dump(mode="json")
    if isinstance(mode := values.get("mode"), int):
        values["mode"] = f"{mode:04o}"
    if is_private(resource):
        values = {name: value if name in _OUTSIDE else None for name, value in values.items()}
    return values


def differences(change: Change) -> list[str]:
    """What differs, without what a private file held or will hold."""
    told = list(change.differences())
    if any(side is not None and is_private(side) for side in (change.before, change.after)):
        told = [text if (field := text.split(" ", 1)[0]) in _OUTSIDE else field for text in told]
    return told
