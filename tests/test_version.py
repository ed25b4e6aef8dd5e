"""Versions of Nix."""

import pytest

from nixadmin.errors import NixadminError
from nixadmin.nix.differences import DAEMON_MAKES_USER_DIRECTORIES, FINDS_DAEMON, PROFILES_IN_HOME
from nixadmin.nix.version import parse


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("nix (Nix) 2.8.0", (2, 8)),
        ("nix (Nix) 2.8.0\n", (2, 8)),
        ("nix-env (Nix) 2.26.3", (2, 26, 3)),
        ("nix-daemon (Nix) 1.11.16", (1, 11, 16)),
        ("nix (Lix, like Nix) 2.90.0", (2, 90)),
        ("nix (Determinate Nix 3.6.1) 2.29.0", (2, 29)),
        ("2.34.8", (2, 34, 8)),
        ("2.8.0+dfsg-1.1", (2, 8)),
        ("2.34.8+dfsg-1~bpo13+1", (2, 34, 8)),
        ("2.4pre20211006_53e4794", (2, 4)),
        ("nix (Nix) 2.19.0pre20231020_0ab9eb1", (2, 19)),
    ],
)
def test_what_programs_and_packages_say(text: str, numbers: tuple[int, ...]) -> None:
    assert parse(text).numbers == numbers


@pytest.mark.parametrize(
    "text", ["", "nix", "2", "nix (Nix) ", "2.", ".8", "2..8", "2.8 \n2.9", "nix (Nix) 2.8.0 x", "٢.٨", "2." + "9" * 99]
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(NixadminError, match="is not a version"):
        parse(text)


def test_order() -> None:
    ascending = ["1.11.16", "2.0", "2.2.2", "2.3", "2.3.1", "2.4pre20210908_3c56f62", "2.4", "2.8.0", "2.26.3", "2.34"]
    versions = [parse(text) for text in ascending]
    assert sorted(versions[5:] + versions[:5]) == versions
    assert parse("2.8") == parse("nix (Nix) 2.8.0+dfsg-1.1") and hash(parse("2.8")) == hash(parse("2.8.0"))


def test_what_a_version_has() -> None:
    assert parse("2.8.0").has("2.8") and not parse("2.8.0").has("2.8.1") and parse("2.10").has("2.9")
    assert parse("2.4pre20210908_3c56f62").has("2.4")


def test_lix_has_what_nix_had_when_they_parted() -> None:
    lix = parse("nix (Lix, like Nix) 2.94.0")
    assert lix.has("2.18") and not lix.has("2.19")
    assert str(lix) == "Lix 2.94.0" and str(parse("nix (Nix) 2.8.0")) == "Nix 2.8.0"


def test_differences_begin_and_end() -> None:
    made_by_daemon = {
        text: DAEMON_MAKES_USER_DIRECTORIES.holds(parse(text)) for text in ("2.3", "2.3.1", "2.8", "2.14")
    }
    assert made_by_daemon == {"2.3": False, "2.3.1": True, "2.8": True, "2.14": False}
    assert PROFILES_IN_HOME.holds(parse("nix (Lix, like Nix) 2.90.0"))
    assert FINDS_DAEMON.holds(parse("2.0")) and not FINDS_DAEMON.holds(parse("1.11.16"))
