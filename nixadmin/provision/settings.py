"""Which settings go into nix.conf: what nixadmin needs, what the administrator wishes, what was there already."""

from collections.abc import Iterator, Mapping

from nixadmin.config import Config
from nixadmin.engine.receipt import HIDDEN
from nixadmin.errors import UsageError
from nixadmin.nix import settings
from nixadmin.nix.version import Version


def wished(config: Config) -> dict[str, str]:
    """The settings that the administrator asked nixadmin for, by today's names."""
    lists = {
        "substituters": config.substituters,
        "trusted-public-keys": config.trusted_public_keys,
        "trusted-users": config.trusted_users,
        "allowed-users": config.allowed_users,
    }
    single = {"max-jobs": config.max_jobs, "cores": config.cores}
    return (
        {name: " ".join(words) for name, words in lists.items() if words is not None}
        | {name: str(value) for name, value in single.items() if value is not None}
        | config.setting
    )


def wanted(config: Config, sandbox_paths: str, version: Version, adopted: Mapping[str, str]) -> dict[str, str]:
    """What the block in nix.conf says, by the names that `version` knows.

    `adopted` are the administrator's own settings outside the block: they stay in force, so nixadmin says nothing
    about those, unless it was asked to.

    Raises NixadminError for a setting that this Nix does not know, or a value that it does not take.
    """
    own = {
        "build-users-group": config.build_group,
        "sandbox": "true",
        "sandbox-fallback": "false",
        "sandbox-paths": sandbox_paths,
        "builders": f"@{config.builders_file}",
        "builders-use-substitutes": "true",
    }
    known = {name: value for name, value in own.items() if settings.knows(version, name)}
    quiet = {name: value for name, value in known.items() if name not in adopted}
    if "extra-sandbox-paths" in adopted and "sandbox-paths" in quiet:
        # A plain list of ours would replace what the administrator adds.
        quiet["extra-sandbox-paths"] = quiet.pop("sandbox-paths")
    for name, value in (asked := wished(config)).items():
        if settings.secret(name, value):
            raise UsageError(
                f"{name} holds a secret, and nix.conf is for everybody to read",
                "give it as --secret-setting, which goes into a file of root's alone",
            )
    return settings.check(quiet | asked, version)


def hidden(config: Config, version: Version) -> dict[str, str]:
    """What goes into the file that only root may read. Raises NixadminError as `wanted` does."""
    values = {name: value.get_secret_value() for name, value in config.secret_setting.items()}
    # An ordinary user's plan knows no more of them than their names, and those were looked at when they were given.
    told = {name: value for name, value in values.items() if value != HIDDEN}
    return dict.fromkeys(values.keys() - told.keys(), HIDDEN) | settings.check(told, version)


def notes(config: Config, adopted: Mapping[str, str]) -> Iterator[str]:
    """What people should know about the settings that they had already."""
    asked = wished(config)
    for name in sorted(adopted.keys() & asked.keys()):
        if adopted[name] != asked[name]:
            yield f"nix.conf has {name} = {adopted[name]}; your {asked[name]} comes after it and wins"
    if adopted.get("sandbox", "true") == "false" and "sandbox" not in asked:
        yield "nix.conf has sandbox = false, and keeps it: say --setting sandbox=true to sandbox builds"
