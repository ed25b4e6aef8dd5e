"""Provisioning: what a host is to hold, proposed first and then carried out."""

from dataclasses import dataclass

from nixadmin.config import Config
from nixadmin.engine.performing import Left, Tell, perform
from nixadmin.engine.planning import Plan, plan
from nixadmin.engine.receipt import Receipt
from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.host.lock import lock
from nixadmin.provision.multi_user import installation
from nixadmin.provision.refusals import refusals
from nixadmin.provision.site import Site
from nixadmin.provision.survey import survey


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be done to a host: the plan, the choices behind it, and what forbids to begin."""

    plan: Plan
    receipt: Receipt
    site: Site | None = None
    notes: tuple[str, ...] = ()
    refusals: tuple[NixadminError, ...] = ()


def propose(host: Host, config: Config, *, take_over: bool = False) -> Proposal:
    """What would bring the host to the configuration. Nothing is changed.

    Raises NixadminError when the configuration cannot be had on this host at all.
    """
    receipt = Receipt.load(host)
    site = survey(host, config, receipt)
    wanted = plan(installation(config, site), receipt, host, take_over=take_over)
    refused = tuple(refusals(host, site.nix.unpacked_size))
    return Proposal(wanted, receipt, site, site.notes, refused)


def carry_out(host: Host, proposal: Proposal, *, tell: Tell, take_over: bool = False) -> None:
    """Bring the host to what was proposed.

    Raises NixadminError when something forbids it, conflicts with it, or fails.
    """
    if proposal.refusals:
        raise proposal.refusals[0]
    with lock(host):
        perform(proposal.plan, proposal.receipt, host, tell=tell, take_over=take_over)


def propose_uninstall(host: Host, *, purge: bool) -> Proposal:
    """What would give the host back as it was; without `purge`, all but the store and what people keep there."""
    receipt = Receipt.load(host)
    return Proposal(plan([], receipt, host, purge=purge), receipt)


def carry_out_uninstall(host: Host, proposal: Proposal, *, tell: Tell) -> list[Left]:
    """Give the host back; return what had to be left, and why."""
    with lock(host):
        return perform(proposal.plan, proposal.receipt, host, tell=tell, keep_going=True)
