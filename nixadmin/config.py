"""What an administrator may wish for. Every option is one field of `Config`, written once.

From a field come its default, its type, its flag (`--build-users`), its environment variable
(`NIXADMIN_BUILD_USERS`), its key in the configuration file (`build-users`) and its help.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

FILE = Path("/etc/nixadmin.toml")

MOST_BUILD_USERS = 999
NIX_WORDS = ("auto", "existing", "distro")


def _one_line(value: str) -> str:
    """Refuse what would begin another setting or directive: these values end up in line-based files."""
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("holds a newline or another control character")
    return value


def _account_name(value: str) -> str:
    # useradd(8): lower case letters, digits, underscores, dashes; 32 characters; a digit follows the name.
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,27}", value):
        raise ValueError("is not a name for an account: a-z, 0-9, _ and -, at most 28 characters")
    return value


def _absolute(value: Path) -> Path:
    if not value.is_absolute() or ".." in value.parts:
        raise ValueError("is not an absolute path")
    _one_line(str(value))
    return value


Line = Annotated[str, AfterValidator(_one_line)]
AccountName = Annotated[str, AfterValidator(_account_name)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class Config(BaseModel):
    """The wishes for one host. `None` or `auto` leaves the choice to nixadmin, which says what it chose."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=lambda name: name.replace("_", "-"))
    model_config["populate_by_name"] = True

    nix: Line = Field("auto", description="where Nix comes from: auto, existing, distro, or a path or URL of a tarball")
    sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the tarball, in hexadecimal; a URL needs it"
    )
    init: Literal["auto", "systemd", "sysvinit", "none"] = Field(
        "auto", description="which init starts nix-daemon: auto, systemd, sysvinit, or none"
    )

    build_group: AccountName = Field("nixbld", description="the group of the build users")
    gid: int = Field(30000, ge=1, le=2**31 - 2, description="gid of the build group, where it does not exist yet")
    build_users: int = Field(
        32, ge=1, le=MOST_BUILD_USERS, description="how many build users; never fewer than max-jobs"
    )
    first_uid: int = Field(30001, ge=1, le=2**31 - 2, description="uid of the first build user that is made")

    max_jobs: Literal["auto"] | Annotated[int, Field(ge=0)] | None = Field(
        None, description="builds at a time: a number, or auto for one a core"
    )
    cores: Annotated[int, Field(ge=0)] | None = Field(None, description="cores that one build may use; 0 for all")
    substituters: tuple[Line, ...] | None = Field(None, description="binary caches, by URL")
    trusted_public_keys: tuple[Line, ...] | None = Field(None, description="keys that sign what caches offer")
    trusted_users: tuple[Line, ...] | None = Field(None, description="users, or @groups, who are as good as root")
    allowed_users: tuple[Line, ...] | None = Field(None, description="users, or @groups, who may use the daemon")
    setting: dict[str, Line] = Field({}, description="any other setting of nix.conf, as NAME=VALUE")
    secret_setting: dict[str, SecretStr] = Field(
        {}, description="a setting that only root may read (access-tokens, say), as NAME=@FILE"
    )

    per_user_mode: Literal["0755", "1777"] = Field(
        "0755", description="mode above users' own directories: 1777 (anybody makes one) is for Nix before 2.3.1 alone"
    )
    sandbox_shell: Line = Field("auto", description="/bin/sh of the build sandbox: auto, or a static shell's path")
    builders_file: AbsolutePath = Field(Path("/etc/nix/machines"), description="the list of remote builders")
    current_load: AbsolutePath = Field(
        Path("/nix/var/nix/current-load"), description="where the load of the remote builders is counted"
    )
    proxy: Line | None = Field(None, description="proxy through which the daemon reaches the world, by URL")
    no_proxy: Line | None = Field(None, description="hosts that are reached without the proxy, by commas")
    ssl_cert_file: AbsolutePath | None = Field(None, description="certificates of the authorities that are trusted")
    channel: Line = Field(
        "https://nixos.org/channels/nixpkgs-unstable", description="root's nixpkgs channel, by URL, or none"
    )

    @field_validator("nix")
    @classmethod
    def _absolute_path(cls, value: str) -> str:
        # It is remembered, and the next run may be started elsewhere.
        return value if value in NIX_WORDS or "://" in value else str(Path(value).absolute())

    @field_validator("secret_setting", mode="after")
    @classmethod
    def _secret_lines(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for secret in value.values():
            _one_line(secret.get_secret_value())
        return value
