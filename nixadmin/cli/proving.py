"""The proof at the end: a build by an ordinary user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixadmin.errors import UsageError
from nixadmin.host import Host

if TYPE_CHECKING:  # no small imports, and most runs prove nothing
    from nixadmin.provision import Proposal
    from nixadmin.sandbox.finding import Finding


def prove(host: Host, proposal: Proposal) -> list[Finding]:
    """What the probe found. Raises UsageError for a stand-in root, in which no daemon runs."""
    if host.is_stand_in:
        raise UsageError(f"{host.root} is no running host: nothing can be built there", "leave the probe out")
    from nixadmin import provision

    return provision.prove(host, proposal)
