"""nixadmin sandbox."""

import sys
from argparse import ArgumentParser, Namespace

from nixadmin.cli import arguments, options
from nixadmin.cli.failing import AS_DECLARED, FAILED
from nixadmin.cli.proving import prove

DESCRIPTION = """\
Show what of the host a build sees in its sandbox, and why; then try one build in it, as an ordinary
user. The exit code is 1 when that build is not sandboxed as it should be."""

EXAMPLES = """\
  sudo nixadmin sandbox
  nixadmin sandbox --no-probe
  nixadmin sandbox --sandbox-shell /bin/bash-static"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser)
    parser.add_argument("--no-probe", action="store_true", help="try no build")
    options.add(parser)


def run(asked: Namespace) -> int:
    from nixadmin.provision import propose
    from nixadmin.report import data, findings, sandbox
    from nixadmin.report.paper import Paper
    from nixadmin.sandbox.paths import sandbox_paths

    host = arguments.the_host(asked)
    config = options.read(asked, host)
    proposal = propose(host, config)
    site = proposal.site
    assert site is not None
    paths = sandbox_paths(site.shell)
    found = [] if asked.no_probe else prove(host, proposal)
    if asked.json:
        data.write(sys.stdout, sandbox.data(site.shell, paths) | {"findings": findings.data(found)})
    else:
        paper = Paper(sys.stdout)
        paper.write(sandbox.lines(site.shell, paths))
        paper.write(findings.lines(found))
    return AS_DECLARED if all(finding.ok for finding in found) else FAILED
