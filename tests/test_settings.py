"""Settings and what each Nix calls them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nixadmin.errors import UsageError
from nixadmin.nix.known_settings import SETTINGS, Kind
from nixadmin.nix.settings import canonical, check, defaults, knows, secret
from nixadmin.nix.version import parse

NIX_1, BOOKWORM, TRIXIE, SID = map(parse, ("1.11.16", "2.8.0", "2.26.3", "2.34.8"))


def test_nix_1_has_its_own_names() -> None:
    settings = {
        "build-users-group": "nixbld",
        "sandbox": "true",
        "sandbox-paths": "/bin/sh=/opt/bash",
        "extra-sandbox-paths": "/dev/kvm",
        "max-jobs": "4",
        "cores": "0",
        "substituters": "https://cache.test/",
        "extra-substituters": "https://other.test/",
        "trusted-public-keys": "cache.test-1:AAAA",
        "keep-outputs": "yes",
    }
    assert check(settings, NIX_1) == {
        "build-users-group": "nixbld",
        "build-use-chroot": "true",
        "build-chroot-dirs": "/bin/sh=/opt/bash",
        "build-extra-chroot-dirs": "/dev/kvm",
        "build-max-jobs": "4",
        "build-cores": "0",
        "binary-caches": "https://cache.test/",
        "extra-binary-caches": "https://other.test/",
        "binary-cache-public-keys": "cache.test-1:AAAA",
        "gc-keep-outputs": "true",
    }
    assert check(settings, SID) == settings | {"keep-outputs": "true"}


def test_old_names_may_be_asked_for() -> None:
    assert check({"build-use-chroot": "true", "build-max-jobs": "2"}, SID) == {"sandbox": "true", "max-jobs": "2"}
    assert check({"commit-lock-file-summary": "x"}, BOOKWORM) == {"commit-lockfile-summary": "x"}


def test_defaults() -> None:
    assert defaults(SID) == {"build-users-group": "nixbld", "sandbox": "true", "sandbox-fallback": "false"}
    assert check(defaults(NIX_1), NIX_1) == {"build-users-group": "nixbld", "build-use-chroot": "true"}


@pytest.mark.parametrize(
    ("settings", "version", "message", "hint"),
    [
        ({"sandbx": "true"}, SID, "'sandbx' is not a setting", "sandbox"),
        ({"zzzz": "1"}, SID, "'zzzz' is not a setting", "show-config"),
        ({"": "1"}, SID, "'' is not a setting", "show-config"),
        ({"use-cgroups": "true"}, BOOKWORM, "Nix 2.8.0 is not known to have", "it came with Nix 2.12"),
        ({"build-dir": "/x"}, BOOKWORM, "Nix 2.8.0 is not known to have", "it was first seen in Nix 2.26"),
        ({"sandbox-fallback": "false"}, NIX_1, "Nix 1.11.16 is not known to have", "first seen in Nix 2.3"),
        ({"repeat": "1"}, SID, "no longer has", "went with Nix 2.13"),
        ({"sandbox": "true", "build-use-chroot": "true"}, SID, "set twice", "keep sandbox"),
        ({"extra-cores": "1"}, SID, "'extra-cores' is not a setting", "cores"),
        ({"extra-trusted-users": "bob"}, parse("2.3"), "cannot append", "2.4"),
        ({"sandbox": "yes"}, SID, "sandbox = 'yes' is refused", "relaxed"),
        ({"keep-outputs": "True"}, SID, "refused", "true or false"),
        ({"keep-outputs": ""}, SID, "refused", "true or false"),
        ({"cores": "auto"}, SID, "refused", "whole number"),
        ({"cores": "-1"}, SID, "refused", "whole number"),
        ({"cores": "٣"}, SID, "refused", "whole number"),
        ({"cores": "1 2"}, SID, "refused", "whole number"),
        ({"cores": "99999999999"}, SID, "refused", "2147483647"),
        ({"cores": "9" * 5000}, SID, "refused", "2147483647"),
        ({"max-jobs": "auto"}, NIX_1, "refused by Nix 1.11.16", "auto"),
        ({"min-free": "ten"}, SID, "refused", "bytes"),
        ({"min-free": "9999999999T"}, SID, "refused", "bytes"),
        ({"build-dir": "builds"}, SID, "refused", "absolute"),
        ({"sandbox-paths": "/bin/sh=bash"}, SID, "refused", "absolute"),
        ({"sandbox-paths": "/dev/kvm?"}, NIX_1, "no optional paths", "leave out"),
        ({"access-tokens": "github.com"}, SID, "refused", "NAME=VALUE"),
        ({"builders": "a\nsandbox = false"}, SID, "cannot be written", "line break"),
        ({"builders": "a\rsandbox = false"}, SID, "cannot be written", "line break"),
        ({"builders": "ssh://a#b"}, SID, "cannot be written", "#"),
        ({"builders": "a\0b"}, SID, "cannot be written", "no quoting"),
    ],
)
def test_refusals(settings: dict[str, str], version: object, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as refusal:
        check(settings, version)  # type: ignore[arg-type]
    assert hint in str(refusal.value.hint)


def test_bytes_are_written_as_every_nix_reads_them() -> None:
    assert check({"min-free": "10g", "max-free": "007"}, BOOKWORM) == {"min-free": "10737418240", "max-free": "7"}


def test_values_are_one_blank_apart() -> None:
    assert check({"substituters": "  https://a   https://b "}, SID) == {"substituters": "https://a https://b"}


def test_secrets() -> None:
    assert secret("access-tokens", "github.com=x") and secret("extra-access-tokens", "github.com=x")
    assert secret("substituters", "https://a https://user:pass@b")
    assert not secret("substituters", "https://a:80/x@y https://user@b") and not secret("cores", "4")


def test_lix_is_refused_what_came_after_the_fork() -> None:
    lix = parse("nix (Lix, like Nix) 2.94.0")
    assert check({"auto-allocate-uids": "true"}, lix)
    with pytest.raises(UsageError, match=r"Lix 2\.94\.0 is not known to have"):
        check({"http3": "true"}, lix)


def test_the_installed_nix_has_what_the_table_says(tmp_path: Path) -> None:
    """And nothing else, with the same aliases and kinds."""
    version = parse(subprocess.run(["nix", "--version"], capture_output=True, text=True, check=True).stdout)
    shown = show_config(tmp_path)
    for name, setting in shown.items():
        known, appends = canonical(name)
        assert not appends and known in SETTINGS and knows(version, known), name
        assert all(canonical(alias) == (known, False) for alias in setting["aliases"]), name
        kinds = {
            bool: {Kind.BOOL, Kind.SANDBOX},
            int: {Kind.INT, Kind.BYTES, Kind.JOBS},
            list: {Kind.LIST, Kind.PATHS, Kind.TEXT},
            dict: {Kind.MAP, Kind.PATHS},
            str: {Kind.TEXT, Kind.PATH, Kind.SANDBOX},
            type(None): {Kind.PATH},
        }
        assert SETTINGS[known].kind in kinds[type(setting["value"])], name
    taken = shown.keys() | {alias for setting in shown.values() for alias in setting["aliases"]}
    for name in SETTINGS:
        if knows(version, name):
            assert {name, SETTINGS[name].old} & taken, name


def show_config(tmp_path: Path) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        ["nix", "--extra-experimental-features", "nix-command", "show-config", "--json"],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "NIX_CONF_DIR": str(tmp_path),
            "NIX_USER_CONF_FILES": "",
            "NIX_STORE_DIR": f"{tmp_path}/store",
            "NIX_STATE_DIR": f"{tmp_path}/var",
            "NIX_LOG_DIR": f"{tmp_path}/log",
        },
        capture_output=True,
        check=True,
    )
    shown: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return shown
