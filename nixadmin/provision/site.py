"""What a declaration has to know of the host it is for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nixadmin.host.accounts import User
from nixadmin.provision.source import NixSource
from nixadmin.resources import Directory, Pool
from nixadmin.sandbox.shell import Shell


@dataclass(frozen=True, slots=True)
class Site:
    """The host as the survey found it, and the choices that follow from it.

    `people` log in here; `own_directories` are theirs, and root's, for profiles and roots. `absent` are
    directories above our files that the host lacks. `adopted_unit` is a definition of nix-daemon that somebody
    else put there, and `adopted_settings` what nix.conf says outside our block.
    """

    nix: NixSource
    pool: Pool
    init: str
    shell: Shell
    people: tuple[User, ...]
    own_directories: tuple[Directory, ...]
    absent: tuple[Path, ...]
    logs_in_by_profile: bool
    has_sddm: bool
    has_accounts_service: bool
    adopted_unit: Path | None
    adopted_settings: Mapping[str, str]
    socket_mode: int
    socket_group: str
    notes: tuple[str, ...]
