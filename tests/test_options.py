"""Flags, variables and the file become one Config, or a UsageError that says where a wrong value came from."""

import json
import os
from pathlib import Path

import pytest

from nixadmin.cli import fields, options
from nixadmin.cli.parser import parse, verbs_of, whole
from nixadmin.config import FILE, Config
from nixadmin.engine import receipt
from nixadmin.errors import UsageError
from nixadmin.host import Host


def read(tmp_path: Path, *flags: str, file: str | None = None, mode: int = 0o600, **variables: str) -> Config:
    host = Host(tmp_path)
    (tmp_path / "etc").mkdir(exist_ok=True)
    if file is not None:
        path = tmp_path / "etc/nixadmin.toml"
        path.write_text(file)
        path.chmod(mode)
    return options.read(parse(["plan", *flags]), host, variables)


def refusal(
    tmp_path: Path, *flags: str, file: str | None = None, mode: int = 0o600, **variables: str
) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, *flags, file=file, mode=mode, **variables)
    assert "\n" not in str(caught.value)
    assert caught.value.hint and "\n" not in caught.value.hint
    return str(caught.value), caught.value.hint


def test_nothing_said_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path) == Config()


def test_flag_before_variable_before_file_before_default(tmp_path: Path) -> None:
    file = "build-users = 3\ngid = 400\nfirst-uid = 500\n"
    got = read(tmp_path, "--build-users", "5", file=file, NIXADMIN_BUILD_USERS="4", NIXADMIN_GID="401", PATH="/bin")
    assert (got.build_users, got.gid, got.first_uid, got.build_group) == (5, 401, 500, "nixbld")


def test_settings_by_name_are_put_together(tmp_path: Path) -> None:
    file = '[setting]\nkeep-outputs = true\nmax-silent-time = 60\nfeatures = ["kvm", "big"]\na = "file"\n'
    got = read(tmp_path, "--setting", "a=flag", "--setting", "b = x=y ", file=file, NIXADMIN_SETTING="a=variable\nc=1")
    assert got.setting == {
        "keep-outputs": "true",
        "max-silent-time": "60",
        "features": "kvm big",
        "a": "flag",
        "b": "x=y",
        "c": "1",
    }


def test_lists_are_repeated_or_separated_by_spaces(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        *("--trusted-users", "alice @wheel", "--trusted-users", "bob"),
        file='substituters = ["https://a.example", "https://b.example"]',
        NIXADMIN_ALLOWED_USERS="carol  dave",
    )
    assert got.trusted_users == ("alice", "@wheel", "bob")
    assert got.substituters == ("https://a.example", "https://b.example")
    assert got.allowed_users == ("carol", "dave")


def test_underscores_are_as_good_as_dashes_in_the_file(tmp_path: Path) -> None:
    assert read(tmp_path, file="build_users = 7").build_users == 7


def test_an_empty_variable_is_no_wish(tmp_path: Path) -> None:
    assert read(tmp_path, NIXADMIN_PROXY="", NIXADMIN_BUILD_USERS="") == Config()


def test_another_file_by_flag_or_variable(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    mine.write_text("build-users = 2")
    other.write_text("build-users = 9")
    assert read(tmp_path, file="build-users = 1", NIXADMIN_CONFIG=str(mine)).build_users == 2
    assert read(tmp_path, "--config", str(other), NIXADMIN_CONFIG=str(mine)).build_users == 9


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--build-users", "0"], "--build-users: 0 must be at least 1"),
        (["--build-users", "5000"], "--build-users: 5000 must be at most 999"),
        (["--build-users", "-3"], "--build-users: -3 must be at least 1"),
        (["--build-users", "three"], "--build-users: three must be a whole number"),
        (["--build-users", ""], "--build-users:  must be a whole number"),
        (["--build-users", "9" * 5000], f"--build-users: {'9' * 60}… must be a smaller number"),
        (["--max-jobs", "many"], "--max-jobs: many must be auto or a whole number"),
        (["--build-group", "a:b"], "--build-group: the value is not a name for an account"),
        (["--build-group", "a\nb"], "--build-group: the value is not a name for an account"),
        (["--nix", "a\nb"], "--nix: the value holds a newline"),
        (["--setting", "a=b\nc = d"], "--setting a: the value holds a newline"),
        (["--setting", "cores"], "--setting: `cores` is not NAME=VALUE"),
        (["--setting", "=3"], "--setting: `=3` is not NAME=VALUE"),
        (["--substituters", "https://a\nb = c"], "--substituters: the value holds a newline"),
        (["--proxy", "http://x\x1b[2J"], "--proxy: the value holds a newline or another control character"),
        (["--builders-file", "machines"], "--builders-file: the value is not an absolute path"),
        (["--builders-file", "/etc/../shadow"], "--builders-file: the value is not an absolute path"),
        (["--sha256", "abc"], "--sha256: abc must be of the form"),
        (["--init", "upstart"], "--init: invalid choice: 'upstart'"),
        (["--gid", "x", "--cores", "y"], "--gid: x must be a whole number; --cores: y must be a whole number"),
    ],
)
def test_a_wrong_flag(tmp_path: Path, flags: list[str], said: str) -> None:
    message, _ = refusal(tmp_path, *flags)
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("build-users = 0", "build-users in {}: 0 must be at least 1"),
        ("build-users = true", "build-users in {}: true must be a whole number"),
        ("build-users = 2.5", "build-users in {}: 2.5 must be a whole number"),
        ("build-users = [3]", "build-users in {}: [3] must be a whole number"),
        ("nix = 5", "nix in {}: 5 must be text"),
        ('substituters = "https://a"', 'substituters in {}: https://a must be a list: ["one", "two"]'),
        ("setting = 3", "setting in {} is not a table"),
        ('setting = ["a"]', "setting in {}: `a` is not NAME=VALUE"),
        ('[setting]\ncores = "1\\nsandbox = false"', "cores in {} [setting]: the value holds a newline"),
        ("[setting]\na = 1979-05-27", "a in {} [setting]: 1979-05-27 must be text"),
        ("[setting.a]\nb = 1", "a in {} [setting]: {{'b': 1}} must be text"),
        ('init = "upstart"', "init in {}: upstart must be auto, systemd, sysvinit or none"),
    ],
)
def test_a_wrong_value_in_the_file(tmp_path: Path, file: str, said: str) -> None:
    message, _ = refusal(tmp_path, file=file)
    assert message.startswith(said.format(tmp_path / "etc/nixadmin.toml"))


@pytest.mark.parametrize(
    ("file", "said", "hint"),
    [
        ("buid-users = 3", "there is no key `buid-users`", "did you mean build-users?"),
        ('[nixadmin]\nnix = "auto"', "there is no key `nixadmin`", ""),
        ('"a\\u001b[2J" = 1', "there is no key `a\\x1b[2J`", ""),
        ("build-users = ", "is not TOML", "NAME = VALUE"),
        ("gid = 1\ngid = 2", "is not TOML", "NAME = VALUE"),
    ],
)
def test_a_wrong_file(tmp_path: Path, file: str, said: str, hint: str) -> None:
    message, advice = refusal(tmp_path, file=file)
    assert said in message
    assert str(tmp_path / "etc/nixadmin.toml") in message
    assert hint in advice


def test_a_wrong_variable(tmp_path: Path) -> None:
    message, hint = refusal(tmp_path, NIXADMIN_BUILD_USERS="0")
    assert message == "NIXADMIN_BUILD_USERS: 0 must be at least 1"
    assert hint == "build-users: how many build users; never fewer than max-jobs"
    message, hint = refusal(tmp_path, NIXADMIN_BUID_USERS="3")
    assert message == "NIXADMIN_BUID_USERS: there is no such option"
    assert hint == "did you mean NIXADMIN_BUILD_USERS?"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path, "--config", str(tmp_path / "none"))[0]
    assert "Is a directory" in refusal(tmp_path, "--config", str(tmp_path))[0]
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in refusal(tmp_path, "--config", str(tmp_path / "binary"))[0]
    assert "is longer than" in refusal(tmp_path, "--config", "/dev/zero")[0]


SECRET = "github.com=ghp_verysecret"


def test_a_secret_comes_from_a_private_file(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    token.chmod(0o600)
    by_flag = read(tmp_path, "--secret-setting", f"access-tokens=@{token}")
    by_variable = read(tmp_path, NIXADMIN_SECRET_SETTING=f"access-tokens=@{token}")
    for config in (by_flag, by_variable):
        assert config.secret_setting["access-tokens"].get_secret_value() == SECRET
        assert SECRET not in repr(config) + str(config) + config.model_dump_json()


def test_a_secret_in_the_private_configuration_file(tmp_path: Path) -> None:
    config = read(tmp_path, file=f'[secret-setting]\naccess-tokens = "{SECRET}"')
    assert config.secret_setting["access-tokens"].get_secret_value() == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    message, hint = refusal(tmp_path, file=f'[secret-setting]\naccess-tokens = "{SECRET}"', mode=mode)
    assert "can be read by others" in message and "chmod 0600" in hint
    token = tmp_path / "token"
    token.write_text(SECRET)
    token.chmod(mode)
    (tmp_path / "etc/nixadmin.toml").unlink()
    message, hint = refusal(tmp_path, "--secret-setting", f"access-tokens=@{token}")
    assert "can be read by others" in message and "chmod 0600" in hint


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user, which root alone may")
def test_a_secret_in_a_strangers_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc/nixadmin.toml"
    path.write_text(f'[secret-setting]\naccess-tokens = "{SECRET}"')
    path.chmod(0o600)
    os.chown(path, 1000, 1000)
    assert "is not root's" in refusal(tmp_path)[0]


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        (["--secret-setting", f"access-tokens={SECRET}"], None),
        (["--secret-setting", f"{SECRET.partition('=')[2]}"], None),
        ([], f'[secret-setting]\naccess-tokens = "{SECRET}\\nsandbox = false"'),
        ([], f'secret-setting = ["{SECRET.partition("=")[2]}"]'),
        ([], f'[secret-setting]\naccess-tokens = {{ a = "{SECRET}" }}'),
    ],
)
def test_no_refusal_tells_a_secret(tmp_path: Path, flags: list[str], file: str | None) -> None:
    assert "verysecret" not in " ".join(refusal(tmp_path, *flags, file=file))


def test_every_field_is_an_option_wherever_the_configuration_counts() -> None:
    verbs = verbs_of(whole())
    for name in ("plan", "provision", "verify", "sandbox"):
        assert {fields.flag(field) for field in Config.model_fields} <= set(verbs[name].options())
    assert all(field.description for field in Config.model_fields.values())


def test_what_flags_and_variables_wish_for_is_remembered(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "var/lib").mkdir(parents=True)
    secret = tmp_path / "token"
    secret.write_text("t0ken")
    secret.chmod(0o600)
    first = parse(["provision", "--gid", "5", "--setting", "cores=2", "--secret-setting", f"access-tokens=@{secret}"])
    config = options.read(first, host, {"NIXADMIN_BUILD_USERS": "3"})
    wished = options.wishes(first, host, config, {"NIXADMIN_BUILD_USERS": "3"})
    assert wished == {
        "gid": 5,
        "build-users": 3,
        "setting": {"cores": "2"},
        "secret-setting": {"access-tokens": "t0ken"},
    }
    path = host.at(receipt.PATH)
    path.parent.mkdir()
    path.write_text(json.dumps({"version": 1, "wishes": wished, "entries": {}}))
    again = parse(["verify", "--gid", "6", "--setting", "max-jobs=1"])
    later = options.read(again, host, {})
    assert (later.gid, later.build_users, later.setting) == (6, 3, {"cores": "2", "max-jobs": "1"})
    assert later.secret_setting["access-tokens"].get_secret_value() == "t0ken"
    assert options.wishes(again, host, later, {})["setting"] == {"cores": "2", "max-jobs": "1"}
    assert "t0ken" not in repr(later)


def test_the_file_goes_before_what_is_remembered(tmp_path: Path) -> None:
    host = Host(tmp_path)
    for path, text in ((FILE, "build-users = 4\n"), (receipt.PATH, '{"version": 1, "wishes": {"build-users": 3}}')):
        host.at(path).parent.mkdir(parents=True)
        host.at(path).write_text(text)
    assert options.read(parse(["verify"]), host, {}).build_users == 4


def test_another_tarball_does_not_inherit_a_digest(tmp_path: Path) -> None:
    host = Host(tmp_path)
    path = host.at(receipt.PATH)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": 1, "wishes": {"nix": "/old.tar.xz", "sha256": "0" * 64}}))
    assert options.read(parse(["verify"]), host, {}).sha256 == "0" * 64
    other = parse(["provision", "--nix", "/new.tar.xz"])
    config = options.read(other, host, {})
    assert config.sha256 is None
    assert options.wishes(other, host, config, {}) == {"nix": "/new.tar.xz"}
