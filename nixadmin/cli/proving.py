"""The proof at the end: a build by an ordinary user."""

from nixadmin.config import Config
from nixadmin.errors import UsageError
from nixadmin.host import Host
from nixadmin.sandbox.finding import Finding


def prove(host: Host, config: Config) -> list[Finding]:
    """What the probe found. Raises UsageError for a stand-in root, in which no daemon runs."""
    if host.is_stand_in:
        raise UsageError(f"{host.root} is no running host: nothing can be built there", "leave the probe out")
    # Only here: it is no small import, and most runs prove nothing.
    from nixadmin import provision

    return list(provision.prove(host, config))
