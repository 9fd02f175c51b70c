import io
import os
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from galmorph.edge.members import close_archives, open_source, read_member, stream_tar
from galmorph.errors import ArchiveError, ImageError

FILES = {"labels.csv": b"CATAID,TARGET\n", "images/1.png": b"one" * 5000, "images/deep/2.png": b"", "b 3.png": b"3"}
TARS = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
LIMIT = 100_000


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_archives()


def make_folder(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def make_zip(path, files=FILES, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def entry(name, kind=tarfile.REGTYPE, link="", size=0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def make_tar(path, files=FILES, mode="w", further=()):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            archive.addfile(entry(name, size=len(content)), io.BytesIO(content))
        for info in further:
            archive.addfile(info)
    return path


def contents(source, limit=LIMIT):
    if source.kind == "tar":
        return dict(stream_tar(source.path, source.members, limit))
    return {name: read_member(source.path, source.kind, name, place, limit) for name, place in source.members.items()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip(tmp_path, compression):
    source = open_source(make_zip(tmp_path / "a.zip", compression=compression))
    assert source.kind == "zip"
    assert contents(source) == FILES


@pytest.mark.parametrize("suffix", TARS)
def test_tar(tmp_path, suffix):
    source = open_source(make_tar(tmp_path / f"a{suffix}", mode=TARS[suffix]))
    assert source.kind == "tar"
    assert contents(source) == FILES


def test_folder(tmp_path):
    source = open_source(make_folder(tmp_path))
    assert source.kind == "folder"
    assert contents(source) == FILES


def test_kind_is_told_by_content(tmp_path):
    assert open_source(make_zip(tmp_path / "a.tar")).kind == "zip"
    assert open_source(make_tar(tmp_path / "a.zip", mode="w:gz")).kind == "tar"


def test_what_the_system_tar_and_zip_make(tmp_path):
    folder = make_folder(tmp_path / "given")
    subprocess.run(["tar", "-C", folder, "-czf", tmp_path / "a.tgz", "."], check=True)
    assert contents(open_source(tmp_path / "a.tgz")) == FILES


def test_files_that_systems_leave_are_not_there(tmp_path):
    strays = {
        "__MACOSX/images/._1.png": b"x",
        ".DS_Store": b"x",
        "images/.ipynb_checkpoints/1.png": b"x",
        "._1.png": b"x",
    }
    for source in (
        open_source(make_folder(tmp_path / "folder", FILES | strays)),
        open_source(make_zip(tmp_path / "a.zip", FILES | strays)),
        open_source(make_tar(tmp_path / "a.tar", FILES | strays)),
    ):
        assert set(source.members) == set(FILES)


def test_of_a_name_twice_the_later_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.png", "old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("1.png", "new")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for content in (b"old", b"new"):
            archive.addfile(entry("1.png", size=3), io.BytesIO(content))
    assert contents(open_source(tmp_path / "a.zip")) == {"1.png": b"new"}
    assert contents(open_source(tmp_path / "a.tar")) == {"1.png": b"new"}


UNSAFE = ["../x.png", "images/../../x.png", "/etc/passwd", "..", "C:\\x.png", "\\x.png", "images\\..\\..\\x.png"]


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_member_that_leaves_the_folder_stops(tmp_path, make, name):
    path = make(tmp_path / "a.archive", {**FILES, name: b"x"})
    with pytest.raises(ArchiveError, match=r"a\.archive: a member leaves the archive's folder.*Received: "):
        open_source(path)


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("1.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("1.png", tarfile.SYMTYPE, "../x.png"),
        ("images/1.png", tarfile.SYMTYPE, "../../x.png"),
        ("images", tarfile.SYMTYPE, ".."),
        ("1.png", tarfile.LNKTYPE, "/etc/passwd"),
        ("images/1.png", tarfile.LNKTYPE, "../x.png"),
    ],
)
def test_a_link_out_of_a_tar_stops(tmp_path, name, kind, link):
    path = make_tar(tmp_path / "a.tar", further=[entry(name, kind, link)])
    with pytest.raises(ArchiveError, match="a member leaves the archive's folder"):
        open_source(path)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_in_a_tar_stops(tmp_path, kind):
    path = make_tar(tmp_path / "a.tar", further=[entry("1.png", kind)])
    with pytest.raises(ArchiveError, match=r"holds a device or a pipe.*Received: '1\.png'"):
        open_source(path)


def zip_with(path, name, kind, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/1.png", "one")
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x.png", "..\\..\\x.png"])
def test_a_link_out_of_a_zip_stops(tmp_path, target):
    path = zip_with(tmp_path / "a.zip", "images/2.png", stat.S_IFLNK, target)
    with pytest.raises(ArchiveError, match=r"a member leaves.*images/2\.png -> "):
        open_source(path)


def test_a_device_in_a_zip_stops(tmp_path):
    with pytest.raises(ArchiveError, match="holds a device or a pipe"):
        open_source(zip_with(tmp_path / "a.zip", "2.png", stat.S_IFCHR, ""))


def test_links_inside_an_archive_are_followed(tmp_path):
    source = open_source(zip_with(tmp_path / "a.zip", "copy/2.png", stat.S_IFLNK, "../images/1.png"))
    assert contents(source) == {"images/1.png": b"one", "copy/2.png": b"one"}
    links = [
        entry("copy/2.png", tarfile.SYMTYPE, "../images/1.png"),
        entry("3.png", tarfile.LNKTYPE, "images/1.png"),
        entry("4.png", tarfile.SYMTYPE, "nowhere.png"),
    ]
    for suffix, mode in TARS.items():
        source = open_source(make_tar(tmp_path / f"a{suffix}", {"images/1.png": b"one"}, mode, links))
        assert contents(source) == dict.fromkeys(["images/1.png", "copy/2.png", "3.png"], b"one")


def test_links_of_a_folder_are_followed_once(tmp_path):
    store = make_folder(tmp_path / "store", {"1.png": b"one", "2.png": b"two"})
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "images").symlink_to(store)
    (folder / "again").symlink_to(store)
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(tmp_path / "gone")
    assert contents(open_source(folder)) == {"again/1.png": b"one", "again/2.png": b"two"}


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(make_folder(tmp_path) / "9.png")
    assert set(open_source(tmp_path).members) == set(FILES)


def test_nothing_there(tmp_path):
    with pytest.raises(ArchiveError, match=r"gone\.zip: no such folder or archive\. Check acquire\.path"):
        open_source(tmp_path / "gone.zip")


@pytest.mark.parametrize(
    "content", [b"CATAID,TARGET\n1,0\n", b"Rar!\x1a\x07\x01\x00", b"PK\x03\x04 and no more", b"\x1f\x8b\x08"]
)
def test_neither_zip_nor_tar(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a\.zip: not a zip or tar, truncated or damaged\. Copy or pack it again"):
        open_source(path)


def test_empty_archive_file(tmp_path):
    (tmp_path / "a.zip").touch()
    with pytest.raises(ArchiveError, match="the archive is empty"):
        open_source(tmp_path / "a.zip")


@pytest.mark.parametrize("suffix", [".zip", *TARS])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_truncated_archive_stops(tmp_path, suffix, share):
    files = {f"{number}.png": os.urandom(3000) for number in range(20)}
    path = tmp_path / f"a{suffix}"
    _ = make_zip(path, files) if suffix == ".zip" else make_tar(path, files, TARS[suffix])
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ArchiveError, match="truncated or damaged"):
        open_source(path)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_damaged_compressed_tar_stops(tmp_path, suffix, share):
    files = {f"{number}.png": os.urandom(3000) for number in range(20)}
    path = make_tar(tmp_path / f"a{suffix}", files, TARS[suffix])
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="truncated or damaged"):
        open_source(path)


def test_a_tar_with_a_broken_header_stops_rather_than_ends_early(tmp_path):
    path = make_tar(tmp_path / "a.tar", {f"{number}.png": b"x" * 512 for number in range(5)})
    content = bytearray(path.read_bytes())
    content[2 * 1024 + 148] ^= 0x55  # the checksum of the third header
    path.write_bytes(content)
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["0.png", "1.png"]  # what Python makes of it, without a word
    with pytest.raises(ArchiveError, match=r"truncated or damaged.*invalid header at byte 2,048"):
        open_source(path)


def test_an_encrypted_zip_stops(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"1.png": b"x"}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"a\.zip: encrypted\. Unpack it with its password.*Received: 1\.png"):
        open_source(path)


def test_a_damaged_member_of_a_zip_is_one_galaxys_trouble(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"1.png": b"1" * 100, "2.png": b"2" * 100}, zipfile.ZIP_STORED)
    content = path.read_bytes().replace(b"1" * 100, b"1" * 99 + b"x")
    path.write_bytes(content)
    source = open_source(path)
    with pytest.raises(ImageError, match=r"^1\.png: damaged in the zip.*CRC"):
        read_member(path, "zip", "1.png", source.members["1.png"], LIMIT)
    assert read_member(path, "zip", "2.png", source.members["2.png"], LIMIT) == b"2" * 100


def test_a_way_of_packing_that_is_not_known_stops(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"1.png": b"x"}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", content, content.index(mark) + at, 9)  # Deflate64
    path.write_bytes(content)
    source = open_source(path)
    with pytest.raises(ArchiveError, match=r"1\.png is packed in a way that cannot be read"):
        contents(source)


def test_a_changed_zip_is_opened_anew(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"1.png": b"old"})
    assert contents(open_source(path)) == {"1.png": b"old"}
    make_zip(path, {"1.png": b"newer"})
    os.utime(path, ns=(1, 1))
    assert contents(open_source(path)) == {"1.png": b"newer"}


def test_members_longer_than_the_limit(tmp_path):
    files = {"1.png": b"x" * 11, "2.png": b"x" * 10}
    for source in (open_source(make_folder(tmp_path / "f", files)), open_source(make_zip(tmp_path / "a.zip", files))):
        with pytest.raises(ImageError, match=r"^1\.png: longer than 10 bytes"):
            read_member(source.path, source.kind, "1.png", source.members["1.png"], 10)
        assert read_member(source.path, source.kind, "2.png", source.members["2.png"], 10) == b"x" * 10
    streamed = contents(open_source(make_tar(tmp_path / "a.tar", files)), 10)
    assert isinstance(streamed["1.png"], ImageError)
    assert streamed["2.png"] == b"x" * 10


@pytest.mark.parametrize("suffix", [".zip", ".tar.xz"])
def test_a_packing_bomb_takes_no_memory(tmp_path, suffix):
    """128 MB of zeros in a few kilobytes; what is read must stay at the limit."""
    path = tmp_path / f"a{suffix}"
    script = f"""
import resource, sys
from pathlib import Path
from galmorph.edge.members import open_source, read_member, stream_tar
from galmorph.errors import ImageError
path = Path({str(path)!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = open_source(path)
if source.kind == "zip":
    try:
        read_member(path, "zip", "1.png", source.members["1.png"], 2**20)
    except ImageError:
        pass
else:
    assert isinstance(dict(stream_tar(path, source.members, 2**20))["1.png"], ImageError)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    size = 2**27
    zeros = tmp_path / "zeros"
    zeros.touch()
    os.truncate(zeros, size)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(zeros, "1.png")
    else:
        with tarfile.open(path, "w:xz", preset=0) as archive:
            archive.add(zeros, "1.png")
    assert path.stat().st_size < 2**18
    grown = int(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert grown / (1024 if sys.platform == "darwin" else 1) < 60_000  # kilobytes


def test_only_what_is_wanted_is_read_of_a_tar(tmp_path):
    source = open_source(make_tar(tmp_path / "a.tar.gz", mode="w:gz"))
    wanted = {"b 3.png": source.members["b 3.png"], "labels.csv": source.members["labels.csv"]}
    assert list(stream_tar(source.path, wanted, LIMIT)) == [("labels.csv", FILES["labels.csv"]), ("b 3.png", b"3")]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user")
def test_a_file_that_may_not_be_read_stops():
    script = """
import os, sys
from pathlib import Path
from galmorph.edge.members import open_source
from galmorph.errors import ArchiveError
os.seteuid(65534)
try:
    open_source(Path(sys.argv[1]))
except ArchiveError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        path = make_zip(Path(folder) / "a.zip")
        path.chmod(0)
        command = [sys.executable, "-c", script, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "a.zip: may not be read. Check its permissions" in said
