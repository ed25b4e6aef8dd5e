"""Reading tarballs of Nix: what they bring, and which are refused."""

import tarfile
from pathlib import Path

import pytest

from nixadmin.errors import NixadminError
from nixadmin.host.decompress import opened
from nixadmin.host.tarball import Contents, Piece, items, read_contents
from nixadmin.nix.registration import Registration
from tests.tarballs import TOP, Draft, compress, header


def all_items(path: Path) -> list[Contents | Piece]:
    with opened(path) as stream:
        return list(items(stream))


@pytest.mark.parametrize("reginfo", ["first", "last"])
@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz", ""])
def test_contents(tmp_path: Path, suffix: str, reginfo: str) -> None:
    draft = Draft(tmp_path)
    path = tmp_path / "the name does not matter"
    path.write_bytes(compress(draft.bytes(reginfo=reginfo), suffix))
    contents = read_contents(path)
    assert (contents.version, contents.system, contents.top) == ("2.34.4", "x86_64-linux", TOP)
    assert (contents.nix, contents.cacert) == (draft.nix, draft.cacert)
    assert contents.registrations == tuple(draft.registrations)


def test_the_head_is_enough(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    path = tmp_path / "tarball"
    path.write_bytes(draft.bytes()[:4096])
    assert read_contents(path).nix == draft.nix


@pytest.mark.parametrize("top", ["nix-2.3.3-i686-linux", "nix-2.35.0pre20250101_abcdef0-aarch64-linux"])
def test_other_versions(tmp_path: Path, top: str) -> None:
    draft = Draft(tmp_path)
    version, system = top.removeprefix("nix-").split("-", 1)
    draft.path(f"nix-{version}", {"bin/nix": b""})
    for member, _ in [draft.install, *draft.members]:
        member.name = member.name.replace(TOP, top)
    data = draft.bytes(reginfo="none")
    member, text = draft.reginfo()
    member.name = f"{top}/.reginfo"
    draft.members.append((member, text))
    data = draft.bytes(reginfo="none")
    (tmp_path / "t").write_bytes(data)
    contents = read_contents(tmp_path / "t")
    assert (contents.version, contents.system) == (version, system)


def test_of_several_paths_of_that_name_the_one_that_was_asked_for(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    other = draft.path("nix-2.34.4", {"bin/nix": b"another"})
    last = draft.registrations[-1]
    draft.registrations[-1] = Registration(last.path, last.nar_sha256, last.nar_size, (draft.nix,))
    (tmp_path / "t").write_bytes(draft.bytes())
    assert read_contents(tmp_path / "t").nix == other


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names(tmp_path: Path, format: int) -> None:  # noqa: A002
    draft = Draft(tmp_path)
    long = "x" * (60 if format == tarfile.USTAR_FORMAT else 200)
    draft.add(f"store/{draft.nix}/é{long}", b"", type=tarfile.SYMTYPE, linkname=f"{long}/é")
    (tmp_path / "t").write_bytes(draft.bytes(format=format))
    last = all_items(tmp_path / "t")[-1]
    assert isinstance(last, Piece)
    assert (last.inner, last.target) == ((f"é{long}",), f"{long}/é")


LINK = {"type": tarfile.SYMTYPE}
HARD = {"type": tarfile.LNKTYPE}

REFUSED: list[tuple[str, dict[str, object], str]] = [
    ("/etc/passwd", {}, "leads elsewhere"),
    ("../x", {}, "leads elsewhere"),
    ("store/NIX/../../../x", {}, "leads elsewhere"),
    ("store/..", {"type": tarfile.DIRTYPE}, "leads elsewhere"),
    ("store/NIX/a\nb", {}, "is no name of a file"),
    ("store/NIX/a\x1bb", {}, "is no name of a file"),
    ("store/NIX/./a", {}, "is no name of a file"),
    ("store/NIX//a", {}, "is no name of a file"),
    ("store/NIX/dev", {"type": tarfile.CHRTYPE}, "a device or another special file"),
    ("store/NIX/dev", {"type": tarfile.BLKTYPE}, "a device or another special file"),
    ("store/NIX/fifo", {"type": tarfile.FIFOTYPE}, "a device or another special file"),
    ("store/NIX/sparse", {"type": tarfile.GNUTYPE_SPARSE}, "a device or another special file"),
    ("store/NIX/su", {"mode": 0o4755}, "is set-id"),
    ("store/NIX/sg", {"mode": 0o2755}, "is set-id"),
    ("store/NIX/bin/nix", {}, "twice"),
    ("store/NIX", {"type": tarfile.DIRTYPE}, "twice"),
    (".reginfo", {}, "twice"),
    ("store/NIX/link", LINK | {"linkname": ""}, "a link to ''"),
    ("store/NIX/link", LINK | {"linkname": "a\nb"}, "a link to"),
    ("store/NIX/hard", HARD | {"linkname": "/etc/shadow"}, "leads elsewhere"),
    ("store/NIX/hard", HARD | {"linkname": f"{TOP}/../x"}, "leads elsewhere"),
    ("store/NIX/hard", HARD | {"linkname": f"{TOP}/install"}, "a hard link that leaves its store path"),
    ("store/NIX/hard", HARD | {"linkname": f"{TOP}/store/CACERT/etc/ssl"}, "a hard link that leaves its store path"),
    ("store/NIX/hard", HARD | {"linkname": "other/store/NIX/bin"}, "a hard link that leaves its store path"),
    ("store/not-a-path/x", {}, "is not the name of a store path"),
    ("store/.links/x", {}, "is not the name of a store path"),
    ("etc/passwd", {}, "which has no place in it"),
    ("payload", {}, "which has no place in it"),
    ("store", LINK | {"linkname": "/"}, "which has no place in it"),
    ("", LINK | {"linkname": "/"}, "which has no place in it"),
    ("./other/store/x", {}, "not one directory"),
]


@pytest.mark.parametrize(("name", "fields", "message"), REFUSED)
def test_refused(tmp_path: Path, name: str, fields: dict[str, object], message: str) -> None:
    draft = Draft(tmp_path)

    def real(text: str) -> str:
        return text.replace("NIX", str(draft.nix)).replace("CACERT", str(draft.cacert))

    draft.add(real(name), **{key: real(value) if isinstance(value, str) else value for key, value in fields.items()})
    (tmp_path / "t").write_bytes(draft.bytes())
    with pytest.raises(NixadminError, match=message) as error:
        all_items(tmp_path / "t")
    assert error.value.hint
    assert "\n" not in str(error.value)


def test_links_within_the_store_are_proper(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    other = draft.cacert.absolute()
    for n, target in enumerate(["bin/nix", "share/..", f"{other}/etc", f"../{draft.cacert}", other, "nowhere"]):
        draft.add(f"store/{draft.nix}/link{n}", **(LINK | {"linkname": target}))
    (tmp_path / "t").write_bytes(draft.bytes())
    assert len(all_items(tmp_path / "t")) == 1 + len(draft.members)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a tarball"),
        (b"hello\n", "is not a tarball"),
        (b"x" * 4096, "is not a tarball"),
        (bytes(1024), "has no .reginfo"),
        (compress(b"hello", ".xz"), "is not a tarball"),
        (compress(b"", ".gz"), "is not a tarball"),
        (b"\xfd7zXZ\0" + b"x" * 100, "is damaged"),
        (b"\x1f\x8b" + b"x" * 100, "is damaged"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 100, "is damaged"),
        (b"<!DOCTYPE html>" + b" " * 1000, "is not a tarball"),
    ],
)
def test_no_tarball(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(NixadminError, match=message):
        read_contents(tmp_path / "t")


def test_no_reginfo(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(Draft(tmp_path).bytes(reginfo="none"))
    with pytest.raises(NixadminError, match=r"has no \.reginfo"):
        read_contents(tmp_path / "t")


def test_a_reginfo_that_is_huge_or_no_text(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    draft.registrations.clear()
    (tmp_path / "t").write_bytes(draft.bytes())
    with pytest.raises(NixadminError, match="registers no store path nix-2"):
        read_contents(tmp_path / "t")
    huge = header(".reginfo", size=1 << 40).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "t").write_bytes(huge)
    with pytest.raises(NixadminError, match=r"a \.reginfo of 1099511627776 bytes"):
        read_contents(tmp_path / "t")
    (tmp_path / "t").write_bytes(header(".reginfo", size=2).tobuf() + b"\xff\xff" + bytes(510))
    with pytest.raises(NixadminError, match="is no text"):
        read_contents(tmp_path / "t")


def test_a_size_that_lies(tmp_path: Path) -> None:
    draft = Draft(tmp_path)
    whole = draft.bytes()
    for size in (1 << 50, -512):
        lie = header(f"store/{draft.nix}/lie", size=size).tobuf(tarfile.GNU_FORMAT)
        (tmp_path / "t").write_bytes(whole.rstrip(b"\0") + bytes(-len(whole.rstrip(b"\0")) % 512) + lie + bytes(2048))
        with pytest.raises(NixadminError, match=r"is cut off|size below zero"):
            all_items(tmp_path / "t")


@pytest.mark.parametrize("keep", [600, 1024, 2000, -1500, -10240])
def test_cut_off(tmp_path: Path, keep: int) -> None:
    whole = Draft(tmp_path).bytes().rstrip(b"\0")
    (tmp_path / "t").write_bytes(whole[:keep])
    with pytest.raises(NixadminError, match=r"is cut off|is damaged"):
        all_items(tmp_path / "t")


@pytest.mark.parametrize(
    "records", [b"30 path=/etc/passwd\n", b"x", b"-1 a=b\n", b"99999999 a=b\n", b"8 path=a", b"1 =\n"]
)
def test_pax_headers_that_do_not_add_up(tmp_path: Path, records: bytes) -> None:
    head = header("x", size=len(records), type=tarfile.XHDTYPE).tobuf() + records + bytes(512 - len(records))
    (tmp_path / "t").write_bytes(head + Draft(tmp_path).bytes())
    with pytest.raises(NixadminError, match="does not add up"):
        read_contents(tmp_path / "t")


def test_a_pax_header_for_all_that_follow(tmp_path: Path) -> None:
    for records, refused in ((b"10 path=a\n", True), (b"12 comment=\n", False)):
        head = header("x", size=len(records), type=tarfile.XGLTYPE).tobuf() + records + bytes(512 - len(records))
        (tmp_path / "t").write_bytes(head + Draft(tmp_path / str(refused)).bytes())
        if refused:
            with pytest.raises(NixadminError, match="renames its members"):
                read_contents(tmp_path / "t")
        else:
            assert read_contents(tmp_path / "t").version == "2.34.4"
