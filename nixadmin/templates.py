"""Text for files of other programs: the Jinja templates in `units/`, and the quoting of each file's syntax.

A value that enters a template goes through the filter of that file's syntax (`conf`, `systemd`, `shell`,
`default_file` or `variable`), which quotes it or raises NixadminError: no value can end its line and
start another.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nixadmin.errors import NixadminError

if TYPE_CHECKING:
    from jinja2 import Environment

_PLAIN = re.compile(r"[A-Za-z0-9/._+:=@,~%-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def render(name: str, **values: object) -> str:
    """The text of the file that template `name` (for example "nix-daemon.service.j2") makes of `values`.

    Raises NixadminError when a value does not fit the syntax of the file, and jinja2's UndefinedError (a
    bug) when the template uses a value that was not given.
    """
    return _environment().get_template(name).render(values)


def systemd(value: object) -> str:
    """`value` as it can stand anywhere in a unit file, as a word or a part of one.

    A unit file quotes differently in ExecStart=, ListenStream= and ConditionPath…= (systemd.syntax(7)), so
    what would need quotes is refused, and only the specifier sign is written twice.

    Raises NixadminError for anything but letters, digits and /._+:=@,~%-.
    """
    text = _line(value, "a systemd unit")
    if not _PLAIN.fullmatch(text):
        raise NixadminError(
            f"{text!r} holds a character that a systemd unit would need quotes for",
            "use letters, digits and /._+:=@,~%- only",
        )
    return text.replace("%", "%%")


def shell(value: object) -> str:
    """`value` as one word of a shell script, always in quotes: zsh expands even a bare `=0`."""
    quoted = _line(value, "a shell script").replace("'", "'\"'\"'")
    return f"'{quoted}'"


def default_file(value: object) -> str:
    """`value` as the right side of an assignment that sh and systemd's EnvironmentFile= read alike.

    That is a single-quoted string without a quote or a backslash: neither has a way to write a quote that
    the other understands.

    Raises NixadminError for a quote, a backslash or a control character.
    """
    text = _line(value, "/etc/default/nix-daemon")
    for character in "'\\":
        if character in text:
            raise NixadminError(
                f"{text!r} holds a {character}, which systemd and sh do not read alike",
                f"in a URL, write %{ord(character):02X} for it; a path must do without",
            )
    return f"'{text}'"


def variable(value: object) -> str:
    """`value` as the name of an environment variable. Raises NixadminError if it is none."""
    text = str(value)
    if not _VARIABLE.fullmatch(text):
        raise NixadminError(f"{text!r} is not the name of an environment variable", "use letters, digits and _")
    return text


def conf(value: object) -> str:
    """`value` as the right side of a line of nix.conf, which has no quoting: `#` always begins a comment.

    Raises NixadminError for a `#` or a control character.
    """
    text = _line(value, "nix.conf")
    if "#" in text:
        raise NixadminError(f"{text!r} holds a #, and nix.conf would cut it off there", "nix.conf has no quoting")
    return text


def _line(value: object, where: str) -> str:
    text = str(value)
    if not text.isprintable():
        raise NixadminError(
            f"{text!r} holds a line break or another character that cannot stand in {where}",
            "give it in one line of printable text",
        )
    return text


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from nixadmin.nix import differences

    packaged = Path(__file__).with_name("units")
    environment = Environment(
        loader=FileSystemLoader(packaged if packaged.is_dir() else packaged.parents[1] / "units"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # none of these files is HTML; the filters quote
    )
    environment.filters |= {
        "systemd": systemd,
        "shell": shell,
        "default_file": default_file,
        "variable": variable,
        "conf": conf,
    }
    # So that a template asks the one table what the Nix at hand does.
    environment.globals["differences"] = differences
    return environment
