"""Operations that change a path do to a host's tree what they would do to a local one."""

import ctypes
import grp
import os
import pwd
import shutil
import stat
import subprocess

import pytest

from mount import SLOWER
from procs import wait_for
from tools import Background, content, error, read, timed, write

LIBC = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
LONG = "n" * 256


def renameat2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old)


def tree(top):
    """What is below it: name, type and bits, contents."""
    found = []
    for folder, dirs, names in os.walk(top):
        for name in sorted(dirs + names):
            path = os.path.join(folder, name)
            st = os.lstat(path)
            what = os.readlink(path) if stat.S_ISLNK(st.st_mode) else \
                read(path) if stat.S_ISREG(st.st_mode) else None
            found.append((os.path.relpath(path, top), stat.S_IFMT(st.st_mode),
                          stat.S_ISLNK(st.st_mode) or stat.S_IMODE(st.st_mode), what))
    return sorted(found)


def furnish(top):
    """The same in every folder: a file, an empty and a full directory, a link."""
    write(os.path.join(top, "file"), b"file")
    write(os.path.join(top, "other"), b"other one")
    os.makedirs(os.path.join(top, "empty"))
    write(os.path.join(top, "full", "inside"), b"inside")
    os.makedirs(os.path.join(top, "full2", "deep"))
    os.symlink("file", os.path.join(top, "link"))
    os.symlink("nowhere", os.path.join(top, "dangling"))


def calls():
    """{what: a function of the folder}"""
    def two(function, a, b, *more):
        return lambda top: function(os.path.join(top, a), os.path.join(top, b), *more)

    def one(function, a, *more, **options):
        return lambda top: function(os.path.join(top, a), *more, **options)

    def opened(name, flags):
        def call(top):
            os.close(os.open(os.path.join(top, name), flags, 0o604))
        return call

    found = {}
    for name in ("new", "file", "empty", "full", "link", "dangling", "missing/x", "file/x", LONG):
        found["create " + name] = opened(name, os.O_CREAT | os.O_WRONLY)
        found["create excl " + name] = opened(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        found["open to cut " + name] = opened(name, os.O_TRUNC | os.O_WRONLY)
        found["open to append " + name] = opened(name, os.O_APPEND | os.O_WRONLY)
        found["mkdir " + name] = one(os.mkdir, name, 0o751)
        found["symlink " + name] = lambda top, n=name: os.symlink("target", os.path.join(top, n))
        found["mknod " + name] = one(os.mknod, name, 0o640 | stat.S_IFREG)
        found["rmdir " + name] = one(os.rmdir, name)
        found["unlink " + name] = one(os.unlink, name)
        found["chmod " + name] = one(os.chmod, name, 0o604)
        found["truncate " + name] = one(os.truncate, name, 2)
        found["utime " + name] = one(os.utime, name, (5, 6))
        found["utime of the link " + name] = one(os.utime, name, (5, 6), follow_symlinks=False)
        found["chown " + name] = one(os.chown, name, os.getuid(), os.getgid())
        found["lchown " + name] = one(os.chown, name, -1, os.getgid(), follow_symlinks=False)
        found["readlink " + name] = one(os.readlink, name)
        for source in ("file", "full", "empty", "link", "missing"):
            found[f"rename {source} {name}"] = two(os.rename, source, name)
            found[f"rename {source} {name} noreplace"] = two(renameat2, source, name, NOREPLACE)
            found[f"link {source} {name}"] = lambda top, a=source, b=name: os.link(
                os.path.join(top, a), os.path.join(top, b), follow_symlinks=False)
    found["rename into itself"] = two(os.rename, "full", "full/inner")
    found["rename above itself"] = two(os.rename, "full2/deep", "full2")
    found["rename inside"] = two(os.rename, "full/inside", "empty/inside")
    return found


def test_as_on_a_local_disk(sshd, mount, folder):
    """Every call with every target: the same errno, and the same tree afterwards."""
    web1 = sshd("web1")
    m = mount(sshd.ini(web1, attr_timeout="60s"))
    wrong = []
    for n, (what, call) in enumerate(sorted(calls().items())):
        local, remote = os.path.join(folder, f"local{n}"), os.path.join(web1.files, f"c{n}")
        for top in (local, remote):
            os.mkdir(top)
            furnish(top)
        mounted = m.host("web1", f"c{n}")
        want, got = error(call, local), error(call, mounted)
        if got != want:
            wrong.append(f"{what}: {got}, on a local disk {want}")
        elif not tree(local) == tree(remote) == tree(mounted):
            wrong.append(f"{what}: {tree(mounted)}, on the server {tree(remote)}, "
                         f"on a local disk {tree(local)}")
        shutil.rmtree(local)
        shutil.rmtree(remote)
    assert not wrong, "\n".join(wrong)


def test_what_sftp_cannot_do(sshd, mount):
    web1 = sshd("web1")
    m = mount(sshd.ini(web1))
    furnish(web1.files)
    here = m.host("web1")
    assert error(os.mkfifo, here + "/fifo") == "EPERM"
    assert error(renameat2, here + "/file", here + "/other", EXCHANGE) == "EINVAL"
    os.link(here + "/file", here + "/hard")
    assert os.stat(web1.files + "/hard").st_nlink == 2
    assert os.stat(here + "/hard").st_nlink == 1  # the protocol has no number for it
    for seconds in (-1, 2 ** 32):
        assert error(os.utime, here + "/file", (seconds, 1)) == "EINVAL"


def cases_behind_the_back():
    """{what: (what the kernel saw, what another makes of it, the call, its errno)}: nothing in the
    kernel answers these, the server's word and the looks behind it do."""
    def absent(path):
        assert not os.path.lexists(path)

    def dirs(path):
        os.makedirs(path + "/full")

    def file_to(function):
        def change(path):
            os.unlink(path)
            function(path)
        return change

    def dir_to_file(path):
        os.rmdir(path)
        write(path, b"x")

    x, seen_file, seen_dir = "x", lambda p: write(p, b"x"), os.mkdir
    return {
        "mkdir": (absent, os.mkdir, lambda p: os.mkdir(p + x), "EEXIST"),
        "symlink": (absent, seen_file, lambda p: os.symlink("t", p + x), "EEXIST"),
        "mknod": (absent, os.mkdir, lambda p: os.mknod(p + x), "EEXIST"),
        "link": (absent, seen_file, lambda p: os.link(p + "f", p + x), "EEXIST"),
        "noreplace": (absent, seen_file, lambda p: renameat2(p + "f", p + x, NOREPLACE), "EEXIST"),
        "rename a directory": (absent, dirs, lambda p: os.rename(p + "d", p + x), "ENOTEMPTY"),
        "rename a directory to a file": (absent, seen_file, lambda p: os.rename(p + "d", p + x),
                                         "ENOTDIR"),
        "rename a file": (absent, os.mkdir, lambda p: os.rename(p + "f", p + x), "EISDIR"),
        "unlink a directory": (seen_file, file_to(os.mkdir), lambda p: os.unlink(p + x), "EISDIR"),
        "rmdir a file": (seen_dir, dir_to_file, lambda p: os.rmdir(p + x), "ENOTDIR"),
        "rmdir what is full": (seen_dir, lambda p: os.mkdir(p + "/y"),
                               lambda p: os.rmdir(p + x), "ENOTEMPTY"),
        "unlink what is gone": (seen_file, os.unlink, lambda p: os.unlink(p + x), "ENOENT"),
        "mkdir under a file": (seen_dir, dir_to_file, lambda p: os.mkdir(p + x + "/new"),
                               "ENOTDIR"),
        "mkdir under what is gone": (seen_dir, os.rmdir, lambda p: os.mkdir(p + x + "/new"),
                                     "ENOENT"),
    }


def test_errors_that_the_server_has_no_word_for(sshd, mount):
    web1 = sshd("web1")
    m = mount(sshd.ini(web1, attr_timeout="60s"))
    wrong = []
    for n, (what, case) in enumerate(cases_behind_the_back().items()):
        seen, change, call, want = case
        there, here = os.path.join(web1.files, f"c{n}/"), m.host("web1", f"c{n}/")
        os.mkdir(there)
        write(there + "f", b"f")
        os.mkdir(there + "d")
        seen(there + "x")
        os.path.lexists(here + "x")  # the kernel believes it for 60 s
        change(there + "x")
        got = error(call, here)
        if got != want:
            wrong.append(f"{what}: {got}, not {want}")
    assert not wrong, "\n".join(wrong)


def test_times(sshd, mount):
    web1 = sshd("web1")
    path = write(web1.files + "/file", b"x")
    os.symlink("file", web1.files + "/link")
    m = mount(sshd.ini(web1))
    here = m.host("web1", "file")
    os.utime(here, ns=(5_999_999_999, 7_000_000_001))
    assert (os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns) == (5 * 10**9, 7 * 10**9)
    assert os.stat(here).st_mtime_ns == 7 * 10**9
    # one alone leaves the other as it was
    subprocess.run(["touch", "-m", "-d", "@1000", here], check=True)
    assert (os.stat(path).st_atime, os.stat(path).st_mtime) == (5, 1000)
    subprocess.run(["touch", "-a", "-d", "@2000", here], check=True)
    assert (os.stat(path).st_atime, os.stat(path).st_mtime) == (2000, 1000)
    # of a link: its own
    os.utime(m.host("web1", "link"), (11, 12), follow_symlinks=False)
    assert os.lstat(web1.files + "/link").st_mtime == 12
    assert os.stat(path).st_mtime == 1000
    assert os.lstat(m.host("web1", "link")).st_mtime == 12


def test_own_changes_show_at_once(sshd, mount):
    web1 = sshd("web1")
    write(web1.files + "/file", b"0123456789")
    m = mount(sshd.ini(web1, attr_timeout="60s"))
    here = m.host("web1", "")
    assert read(here + "file") == b"0123456789"
    os.truncate(here + "file", 4)
    assert os.stat(here + "file").st_size == 4 and read(here + "file") == b"0123"
    os.truncate(here + "file", 6)
    assert read(here + "file") == b"0123\0\0"
    os.chmod(here + "file", 0o4701)
    assert os.stat(here + "file").st_mode == os.stat(web1.files + "/file").st_mode
    assert error(os.stat, here + "moved") == "ENOENT"
    os.rename(here + "file", here + "moved")
    assert error(os.stat, here + "file") == "ENOENT"
    assert read(here + "moved") == b"0123\0\0"
    os.mkdir(here + "folder")
    os.rename(here + "moved", here + "folder/moved")
    assert os.listdir(here) == ["folder"] and os.listdir(here + "folder") == ["moved"]
    os.rename(here + "folder", here + "renamed")
    assert read(here + "renamed/moved") == b"0123\0\0"
    os.unlink(here + "renamed/moved")
    os.rmdir(here + "renamed")
    assert os.listdir(here) == [] == os.listdir(web1.files)


def test_paths_show_what_was_written(sshd, mount):
    """Nothing waits for a flush: whoever looks at the path looks behind the writes."""
    web1 = sshd("web1")
    m = mount(sshd.ini(web1, attr_timeout="0"))
    here, part = m.host("web1", ""), content(1 << 20)
    with open(here + "a", "wb", buffering=0) as f:
        for n in range(1, 5):
            f.write(part)
            assert os.stat(here + "a").st_size == n << 20
        f.write(part)
        os.link(here + "a", here + "kept")
        assert os.stat(here + "kept").st_size == 5 << 20
        f.write(part)
        os.rename(here + "a", here + "b")
        assert os.stat(here + "b").st_size == 6 << 20
        f.write(part)
        os.truncate(here + "b", (6 << 20) + 1)
        assert os.fstat(f.fileno()).st_size == (6 << 20) + 1
        os.mkdir(here + "folder")
        os.rename(here + "b", here + "folder/c")
        os.rename(here + "folder", here + "renamed")
        f.write(part)
        assert os.stat(here + "renamed/c").st_size == 8 << 20
        os.unlink(here + "renamed/c")
        f.write(part)
        assert os.fstat(f.fileno()).st_size == 9 << 20
    want = part * 6 + part[:1] + bytes((1 << 20) - 1) + part * 2
    assert read(web1.files + "/kept") == want == read(here + "kept")


def test_a_replaced_file_stays_with_its_readers(sshd, mount):
    web1 = sshd("web1")
    write(web1.files + "/old", content(300_000, 1))
    write(web1.files + "/new", content(300_000, 2))
    m = mount(sshd.ini(web1))
    here = m.host("web1", "")
    with open(here + "old", "rb", buffering=0) as f:
        assert f.read(4096) == content(300_000, 1)[:4096]
        os.rename(here + "new", here + "old")
        assert read(here + "old") == content(300_000, 2)
        assert f.read(4096) == content(300_000, 1)[4096:8192]


def test_names_of_the_config(sshd, mount):
    web1, web2 = sshd("web1"), sshd("web2")
    write(web1.files + "/file", b"x")
    m = mount(sshd.ini(web1, web2))
    hosts = m.path("hosts", "")
    assert error(os.mkdir, hosts + "new") == "EPERM"
    assert error(os.symlink, "web1", hosts + "new") == "EPERM"
    assert error(os.rmdir, hosts + "web1") == "EBUSY"
    assert error(os.rename, hosts + "web1", hosts + "web3") == "EBUSY"
    assert error(os.chmod, hosts, 0o700) == "EPERM"
    assert error(os.chmod, hosts + "web3", 0o700) == "ENOENT"
    assert error(os.rename, hosts + "web1/file", hosts + "web2/file") == "EXDEV"
    assert error(os.link, hosts + "web1/file", hosts + "web2/file") == "EXDEV"
    subprocess.run(["mv", hosts + "web1/file", hosts + "web2/folder"], check=False)
    assert sorted(os.listdir(hosts)) == ["web1", "web2"]


def test_rsync_to_a_hosts_own_folder(sshd, mount, folder):
    """Its attributes are set on the server, where root is but a link, too, and shown from then on, when
    the host does not answer."""
    web1 = sshd("web1")
    os.symlink(web1.files, folder + "/link")
    ini = sshd.ini(web1, attr_timeout="0")
    m = mount(ini.replace(f"root = {web1.files}", f"root = {folder}/link"))
    local, there = folder + "/local", m.host("web1", "")
    write(local + "/d/f", b"x")
    os.chmod(local, 0o750)
    os.utime(local, (1_600_000_000, 1_600_000_000))
    link = os.lstat(folder + "/link").st_mtime_ns
    before = os.stat(there)

    def rsync():
        return subprocess.run(["rsync", "-a", "-i", local + "/", there], check=True, timeout=60,
                              stdout=subprocess.PIPE, text=True).stdout

    assert ".d..tp..... ./\n" in rsync()
    for path in (web1.files, there):
        st = os.stat(path)
        assert (st.st_mode, st.st_mtime) == (stat.S_IFDIR | 0o750, 1_600_000_000)
    assert os.lstat(folder + "/link").st_mtime_ns == link
    assert rsync() == ""
    os.chmod(there, 0o700)
    web1.freeze()
    try:
        assert stat.S_IMODE(os.stat(there).st_mode) == 0o700
        with os.scandir(m.path("hosts")) as entries:
            assert [stat.S_IMODE(entry.stat().st_mode) for entry in entries] == [0o700]
    finally:
        web1.thaw()
    assert os.stat(there).st_ino == before.st_ino


@pytest.mark.parametrize("where", ["hosts", "host"])
def test_read_only(sshd, mount, where):
    web1 = sshd("web1")
    furnish(web1.files)
    before = tree(web1.files)
    more = {"read_only": "yes"} if where == "hosts" else {"each": {"read_only": "yes"}}
    m = mount(sshd.ini(web1, **more))
    here = m.host("web1", "")
    assert error(os.mkdir, here + "new") == "EROFS"
    assert error(os.mknod, here + "new") == "EROFS"
    assert error(write, here + "new", b"x") == "EROFS"
    assert error(os.open, here + "file", os.O_RDWR) == "EROFS"
    assert error(os.open, here + "file", os.O_TRUNC) == "EROFS"
    assert error(os.symlink, "x", here + "new") == "EROFS"
    assert error(os.link, here + "file", here + "new") == "EROFS"
    assert error(os.unlink, here + "file") == "EROFS"
    assert error(os.rmdir, here + "empty") == "EROFS"
    assert error(os.rename, here + "file", here + "new") == "EROFS"
    assert error(os.chmod, here + "file", 0o600) == error(os.chmod, here, 0o700) == "EROFS"
    assert error(os.truncate, here + "file", 0) == "EROFS"
    assert error(os.utime, here + "file") == "EROFS"
    assert not os.access(here + "file", os.W_OK) and os.access(here + "file", os.R_OK)
    assert tree(web1.files) == before and read(here + "file") == b"file"


def test_access(sshd, mount):
    web1 = sshd("web1")
    os.chmod(write(web1.files + "/program", b"#!/bin/sh\nexit 3\n"), 0o755)
    write(web1.files + "/text", b"#!/bin/sh\nexit 3\n")
    m = mount(sshd.ini(web1))
    assert os.access(m.host("web1", "program"), os.X_OK)
    assert subprocess.run([m.host("web1", "program")], check=False).returncode == 3
    assert not os.access(m.host("web1", "text"), os.X_OK)
    assert os.access(m.host("web1", "text"), os.R_OK | os.W_OK)


# {target: how it reads through the mount, from a link in a/b}: what could lead out is turned inward
TARGETS = {
    "name": "name", "./name": "./name", "x//y/": "x//y/", "../c": "../c", "../../top": "../../top",
    ".": ".", "x/../y": "y", "../../../top": "../../top", "../../../../../etc/passwd":
    "../../etc/passwd", "/etc/passwd": "../../etc/passwd", "x/../../../../../etc": "../../etc",
    "ünï cödé": "ünï cödé",
}


def test_links_stay_inside(sshd, mount):
    """Made by another or through the mount: stored as given, and read so that they cannot leave."""
    web1 = sshd("web1")
    os.makedirs(web1.files + "/a/b")
    m = mount(sshd.ini(web1))
    here, there = m.host("web1", "a/b/"), web1.files + "/a/b/"
    for n, (target, want) in enumerate(TARGETS.items()):
        os.symlink(target, here + f"here{n}")
        os.symlink(target, there + f"there{n}")
        assert os.readlink(there + f"here{n}") == target
        assert os.readlink(here + f"here{n}") == os.readlink(here + f"there{n}") == want
        end = os.path.realpath(here + f"here{n}")
        assert end == m.host("web1") or end.startswith(m.host("web1", ""))
    # one that names the folder that is shown leads to its place in it
    write(web1.files + "/file", b"a file")
    os.symlink(web1.files + "/file", here + "absolute")
    assert read(here + "absolute") == b"a file"
    # through a link to a folder and up again: not to another host
    os.symlink("../..", here + "up")
    assert os.path.realpath(here + "up/a/b/up") == m.host("web1")
    # a target of a whole path's length
    long = "/".join(["d" * 200] * 20)
    os.symlink(long, here + "long")
    assert os.readlink(there + "long") == os.readlink(here + "long") == long


def test_space(sshd, mount, proxy):
    web1 = sshd("web1")
    os.mkdir(web1.files + "/folder")
    way = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": way.port}, request_timeout="3s", connect_timeout="3s"))
    there = os.statvfs(web1.files)
    for here in os.statvfs(m.host("web1", "folder")), os.statvfs(m.host("web1")):
        assert (here.f_blocks * here.f_frsize, here.f_files) == \
            (there.f_blocks * there.f_frsize, there.f_files)
        assert here.f_namemax == 255
    # the mount itself asks nobody, and a host that hangs is not waited for longer than 5 s
    way.stall()
    assert os.statvfs(m.point).f_blocks == 0 == os.statvfs(m.path("hosts")).f_blocks
    word, seconds = timed(error, os.statvfs, m.host("web1", "folder"))
    assert word == "ETIMEDOUT" and seconds < 5 + 3 * SLOWER


def test_a_lost_connection_leaves_it_open(sshd, mount, proxy):
    """Sent and not answered: an error, one line that says so, and never a second attempt."""
    web1 = sshd("web1")
    way = proxy(web1.port)
    m = mount(sshd.ini(web1, ports={"web1": way.port}))
    here = m.host("web1", "")
    assert os.listdir(here) == []
    way.stall()
    job = Background([lambda: error(os.rmdir, here + "gone")])
    # the lookup before it waits as well: it is sent again, and rmdir is not reached yet
    wait_for(lambda: m.metric("scoutfs_hosts_requests", state="in_flight") > 0, 10, "the lookup")
    way.cut()
    way.resume()
    assert job.results() == ["ENOENT"]
    os.mkdir(here + "folder")
    way.stall()
    job = Background([lambda: error(os.rmdir, here + "folder")])
    wait_for(lambda: m.metric("scoutfs_hosts_requests", state="in_flight") > 0, 10, "rmdir")
    way.cut()
    way.resume()
    assert job.results() == ["EIO"]
    assert m.log().count("not known whether it was done") == 1
    assert os.listdir(web1.files) == ["folder"]


def account(sshd):
    """A host that is logged into as somebody else, where that is possible, and that one's numbers."""
    web1 = sshd("web1", run=False)
    if os.geteuid() == 0:
        web1.user = "games"
    them = pwd.getpwnam(web1.user)
    os.chown(web1.files, them.pw_uid, them.pw_gid)
    web1.options = f"ForceCommand internal-sftp -d {web1.files}"  # as if it were their home
    return web1.start(), (them.pw_uid, them.pw_gid)


def test_idmap_user(sshd, mount):
    web1, (uid, gid) = account(sshd)
    m = mount(sshd.ini(web1, idmap="user"))
    os.mkdir(m.host("web1", "mine"))
    there, here = os.stat(web1.files + "/mine"), os.stat(m.host("web1", "mine"))
    assert (there.st_uid, there.st_gid) == (uid, gid)
    assert (here.st_uid, here.st_gid) == (os.getuid(), os.getgid())
    assert [e.stat().st_uid for e in os.scandir(m.host("web1"))] == [os.getuid()]
    # and back: mine is theirs
    os.chown(m.host("web1", "mine"), os.getuid(), os.getgid())
    assert os.stat(web1.files + "/mine").st_uid == uid
    if os.geteuid() == 0:
        # what is another's stays so, and cannot be given away
        os.mkdir(web1.files + "/others")
        os.chown(web1.files + "/others", 4711, 4712)
        assert os.stat(m.host("web1", "others")).st_uid == 4711
        assert error(os.chown, m.host("web1", "mine"), 4711, -1) == "EPERM"


def test_idmap_file(sshd, mount, folder):
    web1 = sshd("web1")
    uids = write(folder + "/uids", b"# local name, remote number\nroot:4711\ndaemon:%d\n"
                 % os.getuid())
    gids = write(folder + "/gids", b"daemon:%d\n" % os.getgid())
    m = mount(sshd.ini(web1, idmap="file", uidfile=uids, gidfile=gids))
    os.mkdir(m.host("web1", "mine"))
    here = os.stat(m.host("web1", "mine"))
    assert (here.st_uid, here.st_gid) == (1, 1)  # daemon's
    os.chown(m.host("web1", "mine"), 1, 1)
    assert os.stat(web1.files + "/mine").st_uid == os.getuid()
    if os.geteuid() == 0:
        os.chown(m.host("web1", "mine"), 0, 12345)
        there = os.stat(web1.files + "/mine")
        assert (there.st_uid, there.st_gid) == (4711, 12345)
        assert os.stat(m.host("web1", "mine")).st_uid == 0


def test_idmap_file_mistakes(sshd, mount, folder):
    web1 = sshd("web1")
    uids = write(folder + "/uids", b"root:0\nno-such-user:5\nroot\n")
    m = mount(sshd.ini(web1, idmap="file", uidfile=uids), run=False)
    done = subprocess.run([os.environ.get("SCOUTFS_BIN", "scoutfs"), "--check", m.ini_path],
                          env=m.env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{uids}:2: no user 'no-such-user' on this machine\n" in done.stderr
    assert f"{uids}:3: bad line 'root': want name:number\n" in done.stderr


def test_who_we_are_there(sshd, mount):
    web1, (uid, gid) = account(sshd)
    m = mount(sshd.ini(web1))
    detail = m.path(".scoutfs", "hosts", "web1")
    assert b"logged in" not in read(detail)
    os.listdir(m.host("web1"))

    def line():
        return next(one for one in read(detail).decode().splitlines() if "logged in" in one)

    wait_for(lambda: web1.user in line(), 10, "the name")
    assert line() == f"logged in as {web1.user} ({uid}), group {grp.getgrgid(gid).gr_name} ({gid})"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem takes root")
def test_disk_full(sshd, mount, folder):
    """On a filesystem without room or inodes: ENOSPC, not the server's FAILURE."""
    web1 = sshd("web1")
    small = web1.files + "/small"
    os.mkdir(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=4", "none", small], check=True)
    try:
        m = mount(sshd.ini(web1))
        here = m.host("web1", "small/")
        for n in range(3):
            os.mkdir(here + str(n))
        assert error(os.mkdir, here + "more") == "ENOSPC"
        assert error(os.symlink, "x", here + "more") == "ENOSPC"
        assert error(os.mknod, here + "more") == "ENOSPC"
        assert error(write, here + "more", b"x") == "ENOSPC"
        # and across filesystems of the server
        assert error(os.rename, here + "1", m.host("web1", "1")) == "EXDEV"
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        assert error(os.rmdir, here + "1") == "EROFS"
        assert error(os.mkdir, here + "more") == "EROFS"
        assert error(os.chmod, here + "1", 0o700) == "EROFS"
        assert error(write, here + "more", b"x") == "EROFS"
    finally:
        subprocess.run(["umount", "-l", small], check=True)
