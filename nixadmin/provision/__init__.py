"""Provisioning: what a host is to hold, proposed first and then carried out."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from nixadmin.config import Config
from nixadmin.engine.performing import Left, Tell, perform
from nixadmin.engine.planning import Plan, plan
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import NixadminError, SourceError
from nixadmin.host import Host
from nixadmin.host.lock import lock
from nixadmin.provision.homes import HomeTrace, find_traces, remove_traces
from nixadmin.provision.layout import LOGIN
from nixadmin.provision.multi_user import installation
from nixadmin.provision.refusals import refusals
from nixadmin.provision.site import Site
from nixadmin.provision.survey import survey
from nixadmin.resources import File
from nixadmin.sandbox.finding import Finding
from nixadmin.sandbox.obstacles import obstacles


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be done to a host: the plan, the choices behind it, and what forbids to begin.

    `wishes` are options that were given for this run alone and are remembered for the next ones; `traces` what an
    uninstall would take out of people's homes.
    """

    plan: Plan
    receipt: Receipt
    site: Site | None = None
    notes: tuple[str, ...] = ()
    refusals: tuple[NixadminError, ...] = ()
    wishes: dict[str, JsonValue] | None = None
    traces: tuple[HomeTrace, ...] = ()

    @property
    def starts_daemon(self) -> bool:
        """Whether a daemon will be there for a build to prove it. Where no init runs, the administrator starts one."""
        return self.site is not None and self.site.init != "none"


def propose(
    host: Host, config: Config, *, wishes: dict[str, JsonValue] | None = None, take_over: bool = False
) -> Proposal:
    """What would bring the host to the configuration. Nothing is changed.

    Raises NixadminError when the configuration cannot be had on this host at all.
    """
    receipt = Receipt.load(host, public=True)
    site = survey(host, config, receipt)
    wanted = plan(installation(config, site), receipt, host, take_over=take_over)
    refused = tuple(refusals(host, site.nix.unpacked_size))
    notes = site.notes if wanted.empty else (*site.notes, *_obstacles(host, site))
    return Proposal(wanted, receipt, site, notes, refused, wishes)


def _obstacles(host: Host, site: Site) -> Iterator[str]:
    """What will keep builds from being sandboxed, and therefore from being made at all."""
    if site.adopted_settings.get("sandbox") != "false":
        for obstacle in obstacles(host):
            yield f"builds will fail, because {obstacle.what}: {obstacle.remedy}"


def carry_out(host: Host, proposal: Proposal, *, tell: Tell, take_over: bool = False) -> None:
    """Bring the host to what was proposed.

    Raises NixadminError when something forbids it, conflicts with it, or fails; SourceError for a tarball that is
    damaged or unsafe, which leaves nothing behind on a host that had nothing.
    """
    if proposal.refusals:
        raise proposal.refusals[0]
    with lock(host):
        _refuse_outdated(host, proposal)
        if proposal.wishes not in (None, proposal.receipt.wishes):
            proposal.receipt.wishes = dict(proposal.wishes or {})
            proposal.receipt.save(host)
        fresh = not proposal.receipt.entries
        try:
            perform(proposal.plan, proposal.receipt, host, tell=tell, take_over=take_over)
        except SourceError:
            # Only when the last of it is read is it known to be whole. Nothing has come of it yet.
            if fresh:
                perform(plan([], proposal.receipt, host), proposal.receipt, host, keep_going=True)
            raise


def prove(host: Host, proposal: Proposal) -> list[Finding]:
    """Let an ordinary user build something, and say what the build saw.

    Raises NixadminError when no build can even be tried.
    """
    from nixadmin.sandbox.probe import probe

    site = proposal.site
    assert site is not None
    return probe(host, site.nix.programs, [user.uid for user in site.pool.users], site.people, site.shell)


def propose_uninstall(host: Host, *, purge: bool) -> Proposal:
    """What would give the host back as it was; without `purge`, all but the store and what people keep there."""
    receipt = Receipt.load(host)
    refused = []
    if os.geteuid() != 0:
        refused.append(NixadminError("uninstall changes the whole host, and you are not root", "run it with sudo"))
    script = receipt.entries.get(f"file {LOGIN}")
    text = script.after.content if script and isinstance(script.after, File) else ""
    traces = tuple(find_traces(host, text)) if purge and receipt.entries and not refused else ()
    notes = tuple(f"{trace} goes too: it is of no use without the store" for trace in traces)
    return Proposal(plan([], receipt, host, purge=purge), receipt, None, notes, tuple(refused), traces=traces)


def carry_out_uninstall(host: Host, proposal: Proposal, *, tell: Tell) -> list[Left]:
    """Give the host back; return what had to be left, and why."""
    if proposal.refusals:
        raise proposal.refusals[0]
    with lock(host):
        _refuse_outdated(host, proposal)
        # Before the store goes: a run that is killed in between finds them again.
        remove_traces(host, proposal.traces)
        return perform(proposal.plan, proposal.receipt, host, tell=tell, keep_going=True)


def _refuse_outdated(host: Host, proposal: Proposal) -> None:
    """A person may think for long before saying yes, and another run may have been made meanwhile."""
    if Receipt.load(host) != proposal.receipt:
        raise NixadminError("another nixadmin has changed this host since the plan was made", "run this again")
