"""From `Config`, and nothing else: flags, environment variables and the keys of the configuration file.

A flag goes before the environment, the environment before the file, the file before what an earlier provision was
asked by flags and environment (the receipt remembers it), and that before the default. Settings that are given by
name (`--setting`, `--secret-setting`) are put together from all of them, name by name.
"""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from nixadmin.cli import fields, wrong
from nixadmin.cli.given_files import read_private, read_text
from nixadmin.cli.parser import nearest
from nixadmin.config import FILE, Config
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import UsageError
from nixadmin.host import Host

# The variable that names the configuration file, like --config.
FILE_VARIABLE = fields.PREFIX + "CONFIG"
# Where the parsed command line keeps a flag's value, so that it meets no argument of a verb.
DESTINATION = "config_"


@dataclass(frozen=True, slots=True)
class Given:
    """A value, and where it came from in the words of whoever gave it."""

    value: Any
    origin: str


# By field; for a field that is a mapping, by field and name.
Layer = dict[tuple[str, str | None], Given]


def add(parser: ArgumentParser) -> None:
    """Declare a flag for every field of `Config`, and --config."""
    group = parser.add_argument_group(
        "configuration",
        f"Each may also be a key of {FILE} (build-users = 32), "
        f"or a variable of the environment ({fields.variable('build_users')}=32).",
    )
    group.add_argument("--config", metavar="FILE", help=f"read FILE instead of {FILE}")
    for name, field in Config.model_fields.items():
        group.add_argument(
            fields.flag(name),
            dest=DESTINATION + name,
            metavar=fields.metavar(field),
            choices=fields.choices(field) or None,
            action="append" if fields.repeats(field) else "store",
            help=fields.help_text(field),
        )


def read(asked: Namespace, host: Host, environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration of this run. Raises UsageError, which names where a wrong value came from."""
    now = _environment(environment) | _flags(asked)
    remembered = _remembered(host)
    if ("nix", None) in now:
        remembered.pop(("sha256", None), None)  # of another tarball
    given = remembered | _file(asked, host, environment) | now
    values: dict[str, Any] = {}
    for (name, item), value in given.items():
        if item is None:
            values[name] = value.value
        else:
            values.setdefault(name, {})[item] = value.value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        origins = {place: value.origin for place, value in given.items()}
        raise wrong.usage(error, origins, Config.model_fields) from None


def wishes(
    asked: Namespace, host: Host, config: Config, environment: Mapping[str, str] = os.environ
) -> dict[str, JsonValue]:
    """What flags and variables have wished for, in this run and in those before it: it holds for the next ones too."""
    wished = dict(Receipt.load(host, public=True).wishes)
    now = _environment(environment) | _flags(asked)
    if ("nix", None) in now:
        wished.pop("sha256", None)
    for name, item in now:
        value = getattr(config, name)
        if item is None:
            wished[fields.key(name)] = to_jsonable_python(value)
        else:
            table = wished.get(fields.key(name))
            plain = value[item].get_secret_value() if isinstance(value[item], SecretStr) else value[item]
            wished[fields.key(name)] = {**(table if isinstance(table, dict) else {}), item: plain}
    return wished


def _remembered(host: Host) -> Layer:
    """What earlier runs were asked for by flags and variables."""
    layer: Layer = {}
    known = {fields.key(name): name for name in Config.model_fields}
    for key, value in Receipt.load(host, public=True).wishes.items():
        name, origin = known.get(key), f"{key}, as provision was asked before"
        if name is None:
            continue  # an option of another version of nixadmin
        items = value.items() if isinstance(value, dict) else [(None, value)]
        layer |= {(name, item): Given(wish, origin) for item, wish in items}
    return layer


def _flags(asked: Namespace) -> Layer:
    layer: Layer = {}
    for name, field in Config.model_fields.items():
        value = getattr(asked, DESTINATION + name, None)
        if value is not None:
            if fields.is_secret(field):
                _refuse_bare_secrets(value, fields.flag(name))
            layer |= _from_words(name, field, value, fields.flag(name))
    return layer


def _environment(environment: Mapping[str, str]) -> Layer:
    layer: Layer = {}
    known = {fields.variable(name): name for name in Config.model_fields}
    for origin, value in environment.items():
        if not origin.startswith(fields.PREFIX) or origin == FILE_VARIABLE or not value:
            continue
        if origin not in known:
            raise _unknown(f"{origin}: there is no such option", origin, known)
        field = Config.model_fields[known[origin]]
        words = value.split("\n") if fields.shape(field) is dict else [value]
        layer |= _from_words(known[origin], field, words if fields.repeats(field) else value, origin)
    return layer


def _from_words(name: str, field: FieldInfo, value: str | Sequence[str], origin: str) -> Layer:
    """A value as the shell hands it over, as text."""
    if fields.shape(field) is dict:
        return _assignments(name, field, value, origin)
    if fields.shape(field) is tuple:
        # At spaces alone: a newline is not a space here but something to refuse.
        value = [word for text in value for word in text.split(" ") if word]
    return {(name, None): Given(value, origin)}


def _file(asked: Namespace, host: Host, environment: Mapping[str, str]) -> Layer:
    chosen = asked.config or environment.get(FILE_VARIABLE)
    path = Path(chosen) if chosen else host.at(FILE)
    if not chosen and not path.exists():
        return {}
    import tomllib

    text, private = read_text(path)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", 'a line reads NAME = VALUE: nix = "existing"') from None
    layer: Layer = {}
    known = {fields.key(name): name for name in Config.model_fields}
    for key, value in table.items():
        name = known.get(fields.key(key))
        if name is None:
            raise _unknown(f"{path}: there is no key `{wrong.shown(key)}`", key, known)
        field = Config.model_fields[name]
        if fields.is_secret(field) and not private:
            raise UsageError(
                f"{path} holds {key}, and can be read by others than its owner or is not root's (or yours)",
                f"chown root:root {path}; chmod 0600 {path}",
            )
        origin = f"{key} in {path}"
        if fields.shape(field) is not dict:
            layer[name, None] = Given(_plain(value), origin)
        elif isinstance(value, dict):
            for item, setting in value.items():
                layer[name, item] = _item(name, field, item, setting, f"{item} in {path} [{key}]")
        elif isinstance(value, list):
            layer |= _assignments(name, field, value, origin)
        else:
            raise UsageError(f"{origin} is not a table", f"write it as a table: [{key}]")
    return layer


def _plain(value: object) -> object:
    # pydantic takes true for 1.
    return _as_nix_spells(value) if isinstance(value, bool) else value


def _assignments(name: str, field: FieldInfo, assignments: Sequence[object], origin: str) -> Layer:
    layer: Layer = {}
    for assignment in assignments:
        item, equals, value = str(assignment).partition("=")
        item = item.strip()
        if not str(assignment).strip():
            continue
        if not equals or not item:
            shown = "the value" if fields.is_secret(field) else f"`{wrong.shown(assignment)}`"
            raise UsageError(f"{origin}: {shown} is not NAME=VALUE", f"{name.replace('_', '-')}: {field.description}")
        layer[name, item] = _item(name, field, item, value.strip(" "), f"{origin} {item}")
    return layer


def _item(name: str, field: FieldInfo, item: str, value: object, origin: str) -> Given:
    """One named setting. A number, truth value or list of the file is spelt as in nix.conf."""
    if fields.is_secret(field) and isinstance(value, str) and value.startswith("@"):
        return Given(SecretStr(read_private(Path(value[1:]), f"{fields.flag(name)} {item}")), origin)
    return Given(_as_nix_spells(value), origin)


def _as_nix_spells(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return " ".join(value)
    return value


def _refuse_bare_secrets(assignments: Sequence[str], origin: str) -> None:
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if equals and not value.strip().startswith("@"):
            raise UsageError(
                f"{origin} {wrong.shown(name.strip())}: a secret on the command line can be read by every user",
                f"write it to a file of mode 0600, and name that: {origin} {wrong.shown(name.strip())}=@/path/to/file",
            )


def _unknown(message: str, word: str, known: Mapping[str, str]) -> UsageError:
    guess = nearest(word, known)
    return UsageError(message, f"did you mean {guess}?" if guess else "see: nixadmin provision --help")
