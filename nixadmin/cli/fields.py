"""What a field of `Config` is to those who fill it in: its names, its type, its help."""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

PREFIX = "NIXADMIN_"


def flag(name: str) -> str:
    """`--build-users`"""
    return f"--{key(name)}"


def variable(name: str) -> str:
    """`NIXADMIN_BUILD_USERS`"""
    return PREFIX + name.upper()


def key(name: str) -> str:
    """`build-users`, as the configuration file has it."""
    return name.replace("_", "-")


def shape(field: FieldInfo) -> type:
    """The plain type of a field: dict, tuple, int, Path, str …, with None and annotations taken off."""
    plain = {get_origin(kind) or kind for kind in _kinds(field.annotation)} - {NoneType, Literal}
    return next(iter(plain), str)


def is_secret(field: FieldInfo) -> bool:
    """Whether the values of a field are for nobody's eyes."""
    return any(kind is SecretStr or SecretStr in get_args(kind) for kind in _kinds(field.annotation))


def repeats(field: FieldInfo) -> bool:
    """Whether a field holds several values, each of which may be given by itself."""
    return shape(field) in (tuple, dict)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The words to choose from; none where something else is allowed."""
    alternatives = [kind for kind in _kinds(field.annotation) if kind is not NoneType]
    if all(get_origin(kind) is Literal for kind in alternatives):
        return tuple(str(word) for kind in alternatives for word in get_args(kind))
    return ()


def metavar(field: FieldInfo) -> str:
    """What stands for the value in help."""
    if words := choices(field):
        return "|".join(words)
    assignment = "NAME=@FILE" if is_secret(field) else "NAME=VALUE"
    return {dict: assignment, int: "N", Path: "FILE"}.get(shape(field), "VALUE")


def help_text(field: FieldInfo) -> str:
    """The description and the default, for argparse."""
    text = field.description or ""
    if repeats(field):
        text += "; may be repeated"
    if field.default not in (None, {}):
        text += f" (default: {field.default})"
    return text.replace("%", "%%")


def _kinds(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - a type is any value
    """The alternatives of a type, with annotations taken off."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for alternative in get_args(annotation):
            yield from _kinds(alternative)
    else:
        yield annotation
