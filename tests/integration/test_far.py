"""Hosts at a distance: what comes next is asked for before somebody is there.

A far host is one whose round trip takes 10 ms or more: the link's is 20. Attributes are believed for longer than the
tests take, so that nothing here grows old. How many files a walk gets early depends on who is scheduled when: the
tests ask for half of them.
"""

import os
import subprocess

import pytest

from procs import wait_for
from tools import content, read, write

OLD = 1_600_000_000
FOLDERS, FILES = 4, 25


def old_tree(top):
    """FOLDERS with FILES each, all modified long ago."""
    for n in range(FOLDERS * FILES):
        path = os.path.join(top, f"d{n % FOLDERS}", f"f{n:03}")
        write(path, content(1000 + n, n))
        os.utime(path, (OLD, OLD))


@pytest.fixture
def far(sshd, proxy, mount):
    """A mount of a far host with an old tree t: (its server, mount, t's path there)."""
    server = sshd("web1", count_sftp=True)
    link = proxy(server.port)
    link.rtt = 0.02
    old_tree(os.path.join(server.files, "t"))
    m = mount(sshd.ini(server, ports={"web1": link.port}, attr_timeout="600s"))
    assert os.path.isdir(m.host("web1", "t"))
    return server, m, m.host("web1", "t")


def count(m, what):
    return m.metric(f"scoutfs_hosts_{what}_total")


def idle(m):
    wait_for(lambda: m.metric("scoutfs_hosts_requests") == 0, 20, "the last answers")


def program(*words):
    return subprocess.run(words, check=True, timeout=100, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize("copy", [("cp", "-r"), ("tar",), ("rsync", "-a")], ids=lambda words: words[0])
def test_small_files_are_read_before_they_are_opened(far, folder, copy):
    server, m, top = far
    out = os.path.join(folder, "out")
    if copy[0] == "tar":
        os.mkdir(out)
        program("tar", "-C", top, "-cf", f"{out}.tar", ".")
        program("tar", "-C", out, "-xf", f"{out}.tar")
    else:
        program(*copy, f"{top}/", out)
    assert program("diff", "-r", out, os.path.join(server.files, "t")) == b""
    idle(m)
    assert count(m, "files_early") >= FOLDERS * FILES / 2
    asked = server.sftp_counts()
    assert asked["open"] <= 2 * FOLDERS * FILES and asked["read"] < 1.5 * FOLDERS * FILES


def test_folders_are_listed_before_they_are_opened(far):
    server, m, top = far
    for n in range(40):
        os.makedirs(os.path.join(server.files, "t", "wide", f"{n}", "below"))
    before = server.sftp_counts()
    found = program("find", f"{top}/wide").decode().split()
    assert len(found) == len(set(found)) == 81
    idle(m)
    assert count(m, "folders_ahead") >= 20
    assert (server.sftp_counts() - before)["opendir"] <= 81 + count(m, "folders_ahead_wasted")


def test_who_reads_one_file_moves_no_other(far):
    server, m, top = far
    assert len(os.listdir(f"{top}/d0")) == FILES
    names = sorted(os.listdir(os.path.join(server.files, "t", "d0")))
    for n in (7, 3, 19, 12):  # nor who reads some here and there
        read(f"{top}/d0/{names[n]}")
    for n in range(4):  # nor who reads larger ones
        path = os.path.join(server.files, "large", f"f{n}")
        write(path, content((128 << 10) + 1))
        os.utime(path, (OLD, OLD))
    for name in os.listdir(f"{top}/../large"):
        read(f"{top}/../large/{name}")
    idle(m)
    assert server.sftp_counts()["open"] == 8
    assert not any(count(m, f"{what}{how}") for what in ("files_early", "folders_ahead") for how in ("", "_wasted"))


def walk(m, top):
    """Reads the first files of d1 in turn until others are there early: their paths below top, in order."""
    names = [f"d1/{name}" for name in sorted(os.listdir(f"{top}/d1"))]
    opened = 3
    for name in names[:opened]:
        read(f"{top}/{name}")
    idle(m)
    return names[opened:]


def test_what_was_read_early_and_changed_is_read_anew(far):
    server, m, top = far
    there = os.path.join(server.files, "t")
    longer, newer, gone, ours, *_ = walk(m, top)
    write(f"{there}/{longer}", b"longer" * 1000)
    write(f"{there}/{newer}", content(os.path.getsize(f"{there}/{newer}"), 99))  # of another time
    os.unlink(f"{there}/{gone}")
    assert read(f"{top}/{longer}") == b"longer" * 1000
    assert read(f"{top}/{newer}") == read(f"{there}/{newer}")
    with pytest.raises(FileNotFoundError):
        read(f"{top}/{gone}")
    assert count(m, "files_early_wasted") >= 2
    data = content(os.path.getsize(f"{there}/{ours}"), 98)
    with open(f"{top}/{ours}", "r+b") as f:
        f.write(data)
    os.utime(f"{top}/{ours}", (OLD, OLD))  # so that nothing tells but that it was us
    assert read(f"{top}/{ours}") == data == read(f"{there}/{ours}")


def test_what_we_make_in_a_folder_that_was_listed_ahead_is_shown(far):
    server, m, top = far
    for name in ("a", "b", "c", "d"):
        os.makedirs(os.path.join(server.files, "t", "x", name))
    for name in ("", "a", "b"):  # and so c and d are
        os.listdir(f"{top}/x/{name}")
    idle(m)
    write(f"{top}/x/c/file", b"ours")
    assert os.listdir(f"{top}/x/c") == ["file"]
    os.rmdir(f"{top}/x/d")
    assert sorted(os.listdir(f"{top}/x")) == ["a", "b", "c"]
