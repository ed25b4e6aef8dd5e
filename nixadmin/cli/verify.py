"""nixadmin verify."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments, options
from nixadmin.cli.failing import AS_DECLARED, DIFFERS, FAILED
from nixadmin.cli.proving import prove

DESCRIPTION = """\
Say whether the host is still as declared: whether `nixadmin provision`, with the same
configuration, would change nothing. With --probe, prove it too: an ordinary user builds something
in the sandbox, through the daemon. The exit code is 0 when all is well, 3 when the host differs,
and 1 when the probe fails."""

EXAMPLES = """\
  nixadmin verify
  sudo nixadmin verify --probe
  nixadmin verify --json || mail -s "nix has drifted" root"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser, verbose=True)
    parser.add_argument("--probe", action="store_true", help="build something as an ordinary user as well")
    options.add(parser)


def run(asked: Namespace) -> int:
    from nixadmin.provision import propose
    from nixadmin.report import data, findings, plan
    from nixadmin.report.paper import Paper

    host = arguments.the_host(asked)
    config = options.read(asked, host)
    proposal = propose(host, config)
    found = prove(host, proposal) if asked.probe else []
    if asked.json:
        data.write(sys.stdout, data.of_plan(proposal.plan, proposal.notes) | {"findings": findings.data(found)})
    else:
        paper = Paper(sys.stdout)
        if proposal.plan.empty:
            paper.say(f"As declared: all {len(proposal.plan.declared)} parts of the installation.", "good")
        else:
            paper.write(plan.lines(proposal.plan, verbose=asked.verbose))
            paper.say("The host differs from its declaration; `nixadmin provision` mends it.", "bad")
        paper.write(findings.lines(found))
    if not all(finding.ok for finding in found):
        return FAILED
    return AS_DECLARED if proposal.plan.empty else DIFFERS
