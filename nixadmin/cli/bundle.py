"""nixadmin bundle."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from nixadmin.cli import arguments
from nixadmin.cli.failing import AS_DECLARED

DESCRIPTION = """\
Make a tarball of the Nix that is installed here: Nix with everything it needs, CA certificates, and
a static shell for the build sandbox. A host without a network is provisioned from it. It is laid
out as the official binary tarball is."""

EXAMPLES = """\
  nixadmin bundle --out nix.tar.xz
  nixadmin bundle --out nix.tar.zst --bash /bin/bash-static
  sudo nixadmin provision --nix ./nix.tar.xz       (there)"""


def declare(parser: ArgumentParser) -> None:
    arguments.add_common(parser, root=False)
    parser.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="the tarball to write: .tar.xz, .tar.zst, .tar.gz or .tar",
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="NIX",
        default="existing",
        help="the Nix to take: existing, or the path of a nix program (default: existing)",
    )
    parser.add_argument("--bash", metavar="FILE", help="the static shell to take, instead of the host's")
    parser.add_argument("--certificates", metavar="FILE", help="the CA certificates to take, instead of the host's")


def run(asked: Namespace) -> int:
    from nixadmin.bundle import make_bundle
    from nixadmin.report import bundle, data
    from nixadmin.report.paper import Paper

    made = make_bundle(
        Path(asked.out),
        nix=None if asked.source == "existing" else Path(asked.source),
        certificate_file=_path(asked.certificates),
        bash=_path(asked.bash),
    )
    if asked.json:
        data.write(sys.stdout, bundle.data(made))
    else:
        Paper(sys.stdout).write(bundle.lines(made))
    return AS_DECLARED


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
