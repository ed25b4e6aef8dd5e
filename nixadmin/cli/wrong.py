"""pydantic's complaints, in the words of an administrator."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from nixadmin.cli.fields import is_secret, key
from nixadmin.errors import UsageError

LONGEST = 60

WISHES = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "string_type": "text",
    "bool_parsing": "yes or no",
    "bool_type": "yes or no",
    "tuple_type": 'a list: ["one", "two"]',
    "path_type": "a path",
}
BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
    "string_pattern_mismatch": ("of the form", "pattern"),
}


def usage(
    error: ValidationError,
    origins: Mapping[tuple[str, str | None], str],
    known: Mapping[str, FieldInfo],
) -> UsageError:
    """One UsageError that says for each wrong value where it came from and what it must be."""
    names = {key(name): name for name in known}
    found: dict[str, list[ErrorDetails]] = {}
    secret: set[str] = set()
    hints: dict[str, None] = {}
    for detail in error.errors(include_url=False):
        first, item = (*map(str, detail["loc"]), "", "")[:2]
        name = names.get(first, first)
        origin = origins.get((name, item)) or origins.get((name, None)) or key(name) or "the configuration"
        found.setdefault(origin, []).append(detail)
        if name in known:
            hints[f"{key(name)}: {known[name].description}"] = None
            if is_secret(known[name]):
                secret.add(origin)
    complaints = [f"{origin}: {_complaint(details, origin in secret)}" for origin, details in found.items()]
    hint = next(iter(hints)) if len(hints) == 1 else "see: nixadmin provision --help"
    return UsageError("; ".join(complaints), hint)


def _complaint(details: list[ErrorDetails], secret: bool) -> str:
    for detail in details:
        if detail["type"] == "value_error":  # what a validator of Config says of its value
            return f"the value {detail['ctx']['error']}"
    wishes = " or ".join(dict.fromkeys(map(_wish, details)))
    return f"{'the value' if secret else shown(details[0]['input'])} must be {wishes}"


def _wish(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind in BOUNDS:
        words, name = BOUNDS[kind]
        return f"{words} {context[name]}"
    return WISHES.get(kind, detail["msg"])


def shown(value: object) -> str:
    """A value that may be long or hold anything, on one line."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
