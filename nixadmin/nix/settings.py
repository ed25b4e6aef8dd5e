"""Settings for nix.conf, as the Nix at hand takes them."""

import difflib
import re
from collections.abc import Mapping

from nixadmin.errors import UsageError
from nixadmin.nix.known_settings import ALIASES, EXTRA, SETTINGS, Kind, Setting
from nixadmin.nix.version import Version

_NAMES = {name: name for name in SETTINGS}
_NAMES |= {setting.old: name for name, setting in SETTINGS.items() if setting.old} | ALIASES
_APPENDING = {name: setting for setting, names in EXTRA.items() for name in names}


def canonical(name: str) -> tuple[str, bool]:
    """Today's name of the setting that nix.conf calls `name`, and whether the line appends (`extra-…`).

    A name that no Nix is known to have is its own.
    """
    if name in _NAMES:
        return _NAMES[name], False
    if name in _APPENDING:
        return _APPENDING[name], True
    base = _NAMES.get(name.removeprefix("extra-"))
    if name.startswith("extra-") and base is not None and SETTINGS[base].appends:
        return base, True
    return name, False


def knows(version: Version, name: str) -> bool:
    """Whether that Nix is known to have the setting `name` (today's name)."""
    setting = SETTINGS[name]
    gone = setting.until is not None and version.has(setting.until)
    return version.has(setting.since) and not gone


def defaults(version: Version) -> dict[str, str]:
    """What nixadmin sets where the administrator does not: builds by the pool, and none without a sandbox.

    Nix 2.8 to 2.34 have `sandbox-fallback = true`, and build without a sandbox where the kernel has none.
    """
    wanted = {"build-users-group": "nixbld", "sandbox": "true", "sandbox-fallback": "false"}
    return {name: value for name, value in wanted.items() if knows(version, name)}


def check(settings: Mapping[str, str], version: Version) -> dict[str, str]:
    """`settings` as that Nix takes them: by its names for them, with values it can read.

    Raises UsageError for a setting that no Nix, or not that Nix, is known to have, for a value that the kind
    of the setting does not allow, for one that nix.conf cannot express, and for a setting given under two
    names.
    """
    checked: dict[str, str] = {}
    for given, value in settings.items():
        name, appends = canonical(given)
        setting = SETTINGS.get(name)
        if setting is None:
            near = difflib.get_close_matches(given, [*_NAMES, *_APPENDING], n=3)
            raise UsageError(
                f"{given!r} is not a setting of Nix",
                f"did you mean {' or '.join(near)}?" if near else "`nix show-config` lists those of this host's Nix",
            )
        if not knows(version, name):
            raise _unknown(given, setting, version)
        written = _name(setting, appends, version)
        if written in checked:
            raise UsageError(f"{given!r} is set twice, under two names", f"keep {name}")
        checked[written] = _value(given, setting.kind, value, version)
    return checked


def secret(name: str, value: str) -> bool:
    """Whether others must not read that value: access tokens, and URLs with a password in them."""
    return canonical(name)[0] in ("access-tokens", "impure-env") or _PASSWORD.search(value) is not None


_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def _unknown(given: str, setting: Setting, version: Version) -> UsageError:
    if setting.until is not None and version.has(setting.until):
        return UsageError(f"{version} no longer has the setting {given!r}", f"it went with Nix {setting.until}")
    how = "was first seen in" if setting.seen else "came with"
    return UsageError(
        f"{version} is not known to have the setting {given!r}",
        f"it {how} Nix {setting.since}: leave it out, or upgrade",
    )


def _name(setting: Setting, appends: bool, version: Version) -> str:
    old = not version.has(setting.renamed)
    if not appends:
        return setting.old if old and setting.old else setting.name
    if version.has("2.4"):
        return f"extra-{setting.name}"
    if setting.name not in EXTRA:
        raise UsageError(
            f"{version} cannot append to {setting.name}",
            "only Nix 2.4 and later can: give the whole list instead",
        )
    return EXTRA[setting.name][0 if old else 1]


def _value(name: str, kind: Kind, value: str, version: Version) -> str:
    if "#" in value or not value.isprintable():
        raise UsageError(
            f"{name} = {value!r} cannot be written in nix.conf",
            "a line there ends at the first # or line break, and has no quoting",
        )
    words = value.split()
    text = " ".join(words)
    good: str | None = text
    match kind:
        case Kind.BOOL:
            good = {
                "true": "true",
                "yes": "true",
                "1": "true",
                "false": "false",
                "no": "false",
                "0": "false",
            }.get(text)
        case Kind.SANDBOX:
            good = text if text in ("true", "false", "relaxed") else None
        case Kind.INT:
            good = _number(text, 2**31)
        case Kind.JOBS:
            good = text if text == "auto" and version.has("2.0") else _number(text, 2**31)
        case Kind.BYTES:
            good = _bytes(text)
        case Kind.PATH:
            good = text if text.startswith("/") and len(words) == 1 else None
        case Kind.PATHS:
            outside = [part for word in words for part in word.split("=", 1)]
            good = text if all(part.startswith("/") for part in outside) else None
            if "?" in text and not version.has("2.0"):
                raise UsageError(f"{version} has no optional paths in {name}", "leave out those that end with a ?")
        case Kind.MAP:
            good = text if all("=" in word[1:] for word in words) else None
    if good is None:
        raise UsageError(f"{name} = {value!r} is refused by {version}", f"it takes {kind.value}")
    return good


def _number(text: str, limit: int) -> str | None:
    return str(int(text)) if re.fullmatch("[0-9]{1,20}", text) and int(text) < limit else None


def _bytes(text: str) -> str | None:
    # In plain digits: 2.8 takes no unit (2.26 does).
    match = re.fullmatch("([0-9]{1,18})([KMGT]?)", text.upper())
    if match is None:
        return None
    size = int(match[1]) * 1024 ** " KMGT".index(match[2] or " ")
    return str(size) if size < 2**63 else None
