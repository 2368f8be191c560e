"""README's Semantics, a sentence each: those of a host's files that can be written. Sentences on
what hangs, is lost or hostile have their tests in test_failures.py and test_hostile.py; contents in
test_random.py.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess
import time

import pytest

from mount import SLOWER
from procs import family, wait_for
from tools import MIB, content, error, python, read, together, write

LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
NOT_SUPPORTED = errno.errorcode[errno.EOPNOTSUPP]  # it has two names
OLD = 1_400_000_000


@pytest.fixture
def web1(sshd, mount):
    """start(options of the server…, ini keys) mounts one host: (its server, the path of its files)."""
    def start(each=None, ports=None, **options):
        server = sshd("web1", **options)
        start.ini = sshd.ini(server, each=each, ports=ports)
        start.mount = mount(start.ini)
        return server, start.mount.host("web1")

    return start


def another(mount, web1):
    """Its files again, by another mount."""
    return mount(web1.ini).host("web1")


def renameat2(path, newpath, flags):
    if LIBC.renameat2(-100, os.fsencode(path), -100, os.fsencode(newpath), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def put(path, data, flags=os.O_CREAT):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


# writing and reading back


def test_own_changes_show_at_once(web1):
    server, top = web1({"attr_timeout": "600s"})
    os.mkdir(f"{top}/d")
    assert os.listdir(f"{top}/d") == [] and error(os.stat, f"{top}/d/f") == "ENOENT"
    put(f"{top}/d/f", b"one")
    assert os.listdir(f"{top}/d") == ["f"] and os.stat(f"{top}/d/f").st_size == 3
    put(f"{top}/d/f", b"two three")
    assert os.stat(f"{top}/d/f").st_size == 9 and read(f"{top}/d/f") == b"two three"
    os.chmod(f"{top}/d/f", 0o600)
    assert stat.S_IMODE(os.stat(f"{top}/d/f").st_mode) == 0o600
    os.truncate(f"{top}/d/f", 2)
    assert os.stat(f"{top}/d/f").st_size == 2 and read(f"{top}/d/f") == b"tw"
    os.rename(f"{top}/d/f", f"{top}/g")
    assert os.listdir(f"{top}/d") == [] and read(f"{top}/g") == b"tw"
    os.unlink(f"{top}/g")
    os.rmdir(f"{top}/d")
    assert os.listdir(top) == [] and os.listdir(server.files) == []


def test_a_read_after_a_write_sees_it_whoever_reads(web1):
    _, top = web1()
    fd = os.open(f"{top}/f", os.O_RDWR | os.O_CREAT, 0o644)
    reader = os.open(f"{top}/f", os.O_RDONLY)
    try:
        for n in range(50):
            data = content(100_000, n)
            os.pwrite(fd, data, n * 50_000)
            assert os.pread(reader, 100_000, n * 50_000) == data
            assert os.fstat(reader).st_size == n * 50_000 + 100_000
    finally:
        os.close(fd)
        os.close(reader)


def test_writes_of_several_handles_keep_their_order(web1):
    server, top = web1()
    fds = [os.open(f"{top}/f", os.O_RDWR | os.O_CREAT, 0o644) for _ in range(3)]
    model = bytearray(3 * MIB)
    for n in range(200):
        data, offset = content(60_000, n), (n * 7919 * 131) % (2 * MIB)
        os.pwrite(fds[n % 3], data, offset)
        model[offset:offset + len(data)] = data
    os.ftruncate(fds[0], len(model))
    for fd in fds:
        os.close(fd)
    assert read(f"{server.files}/f") == model


def test_when_close_returns_the_server_has_it(web1):
    server, top = web1()
    put(f"{top}/f", content(5 * MIB))
    assert read(f"{server.files}/f") == content(5 * MIB)


def test_append_is_the_servers(web1, mount):
    """Two mounts that append to one log lose no line of each other's."""
    server, top = web1()
    other = another(mount, web1)
    write(f"{server.files}/log", b"")

    def append(one, name):
        fd = os.open(f"{one}/log", os.O_WRONLY | os.O_APPEND)
        for n in range(200):
            os.write(fd, b"%s %d\n" % (name, n))
        os.close(fd)

    together([lambda: append(top, b"a"), lambda: append(other, b"b")])
    lines = read(f"{server.files}/log").splitlines()
    assert sorted(lines) == sorted(b"%s %d" % (name, n) for name in (b"a", b"b")
                                   for n in range(200))
    assert [line for line in lines if line[:1] == b"a"] == [b"a %d" % n for n in range(200)]


def test_one_of_many_creates_a_file_exclusively(web1):
    _, top = web1()
    made = together(lambda: error(put, f"{top}/lock", b"x", os.O_CREAT | os.O_EXCL)
                    for _ in range(8))
    assert sorted(made) == ["EEXIST"] * 7 + ["ok"]


def test_holes_read_as_zeros(web1):
    server, top = web1()
    fd = os.open(f"{top}/f", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"end", 10 * MIB)
    assert os.pread(fd, 100, 5 * MIB) == bytes(100)
    assert os.lseek(fd, 100, os.SEEK_DATA) == 100  # all of it counts as data
    assert os.lseek(fd, 100, os.SEEK_HOLE) == 10 * MIB + 3
    os.close(fd)
    st = os.stat(f"{server.files}/f")
    assert st.st_size == 10 * MIB + 3 and st.st_blocks < MIB / 512


def test_space_cannot_be_reserved(web1):
    _, top = web1()
    with open(f"{top}/f", "wb") as f:
        # glibc's posix_fallocate writes the zeros itself; fallocate(2) asks
        assert LIBC.fallocate(f.fileno(), 0, ctypes.c_long(0), ctypes.c_long(1000)) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP


def test_a_mapping_can_be_written(web1):
    server, top = web1()
    put(f"{top}/f", bytes(100_000))
    with open(f"{top}/f", "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[50_000:50_004] = b"here"
        m.flush()
        assert read(f"{server.files}/f")[50_000:50_004] == b"here"


# names


def test_an_open_file_that_was_unlinked_or_replaced_goes_on(web1):
    server, top = web1()
    for name in ("unlinked", "replaced"):
        put(f"{top}/{name}", b"old")
    fds = [os.open(f"{top}/{name}", os.O_RDWR) for name in ("unlinked", "replaced")]
    put(f"{top}/new", b"the new one")
    os.unlink(f"{top}/unlinked")
    os.rename(f"{top}/new", f"{top}/replaced")
    assert os.listdir(server.files) == ["replaced"]  # no name in its stead
    for fd in fds:
        os.pwrite(fd, b"OLDER", 0)
        assert os.pread(fd, 100, 0) == b"OLDER" and os.fstat(fd).st_size == 5
        os.ftruncate(fd, 2)
        os.fsync(fd)
        assert os.pread(fd, 100, 0) == b"OL"
        os.close(fd)
    assert read(f"{top}/replaced") == read(f"{server.files}/replaced") == b"the new one"


@pytest.mark.parametrize("sftp", ["internal-sftp", "internal-sftp -P posix-rename"])
def test_rename_replaces_unless_it_may_not(web1, sftp):
    server, top = web1(sftp=sftp)
    for name in ("a", "b"):
        put(f"{top}/{name}", name.encode())
    assert error(renameat2, f"{top}/a", f"{top}/b", RENAME_NOREPLACE) == "EEXIST"
    assert error(renameat2, f"{top}/a", f"{top}/b", RENAME_EXCHANGE) == "EINVAL"
    assert read(f"{server.files}/b") == b"b"
    os.rename(f"{top}/a", f"{top}/b")
    assert os.listdir(server.files) == ["b"] and read(f"{top}/b") == b"a"
    renameat2(f"{top}/b", f"{top}/c", RENAME_NOREPLACE)
    os.mkdir(f"{top}/d")
    os.mkdir(f"{top}/e")
    os.rename(f"{top}/d", f"{top}/e")
    put(f"{top}/e/f", b"")
    os.mkdir(f"{top}/d")
    assert error(os.rename, f"{top}/d", f"{top}/e") == "ENOTEMPTY"
    assert error(os.rename, f"{top}/d", f"{top}/c") == "ENOTDIR"
    assert error(os.rename, f"{top}/c", f"{top}/d") == "EISDIR"
    assert error(os.rename, f"{top}/d", f"{top}/d/x") == "EINVAL"
    assert sorted(os.listdir(server.files)) == ["c", "d", "e"]


def test_hard_links_where_the_server_makes_them(web1):
    server, top = web1()
    put(f"{top}/f", b"x")
    os.link(f"{top}/f", f"{top}/g")
    assert os.path.samefile(f"{server.files}/f", f"{server.files}/g")
    assert read(f"{top}/g") == b"x"
    # SFTP does not tell how many names a file has, nor of another's links that they are one file
    assert os.stat(f"{top}/f").st_nlink == os.stat(f"{top}/g").st_nlink == 1
    assert os.path.samefile(f"{top}/f", f"{top}/g")
    os.link(f"{server.files}/f", f"{server.files}/h")
    assert not os.path.samefile(f"{top}/f", f"{top}/h")
    assert error(os.link, f"{top}/f", f"{top}/g") == "EEXIST"


def test_another_name_of_a_file_shows_its_changes_within_attr_timeout(web1):
    _, top = web1()
    put(f"{top}/f", b"old")
    os.link(f"{top}/f", f"{top}/g")
    assert read(f"{top}/f") == read(f"{top}/g") == b"old"
    put(f"{top}/f", b"longer")
    wait_for(lambda: read(f"{top}/g") == b"longer", 2 * SLOWER, "the other name's contents")


def test_no_hard_links_where_it_does_not(web1):
    _, top = web1(sftp="internal-sftp -P hardlink")
    put(f"{top}/f", b"x")
    assert error(os.link, f"{top}/f", f"{top}/g") == NOT_SUPPORTED


def test_only_files_folders_and_symlinks_are_made(web1):
    server, top = web1()
    os.mknod(f"{top}/file", stat.S_IFREG | 0o640)
    st = os.stat(f"{server.files}/file")
    assert stat.S_ISREG(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o640
    assert error(os.mkfifo, f"{top}/fifo") == "EPERM"
    assert error(os.mknod, f"{top}/socket", stat.S_IFSOCK | 0o600) == "EPERM"
    os.symlink("file", f"{top}/link")
    assert os.readlink(f"{top}/link") == os.readlink(f"{server.files}/link") == "file"


def test_no_change_leads_out_of_the_host(web1, folder):
    """By a symlink that leads outside, nothing outside is changed."""
    server, top = web1({"symlinks": "contain"})
    outside = os.path.join(folder, "outside")
    write(outside, b"safe")
    os.symlink(outside, f"{server.files}/absolute")
    os.symlink("../../outside", f"{server.files}/upward")
    for name in ("absolute", "upward"):
        link = f"{top}/{name}"
        for change in (lambda p: put(p, b"x", 0), lambda p: os.truncate(p, 0),
                       lambda p: os.chmod(p, 0o777)):
            assert error(change, link) in ("ENOENT", "EXDEV", "EACCES", "ELOOP"), name
        os.utime(link, (1, 1), follow_symlinks=False)
    assert read(outside) == b"safe" and stat.S_IMODE(os.stat(outside).st_mode) == 0o644
    assert os.stat(outside).st_mtime > 1000


# attributes


def test_times_are_in_whole_seconds(web1):
    server, top = web1()
    put(f"{top}/f", b"x")
    os.utime(f"{top}/f", ns=(1_500_000_000_999_999_999, 1_600_000_000_999_999_999))
    for path in (f"{top}/f", f"{server.files}/f"):
        st = os.stat(path)
        assert (st.st_atime_ns, st.st_mtime_ns) == (1_500_000_000 * 10 ** 9, 1_600_000_000 * 10 ** 9)
    assert os.stat(f"{top}/f").st_ctime == 1_600_000_000, "which SFTP does not tell"
    for when in (-1, 1 << 32):
        assert error(os.utime, f"{top}/f", (when, when)) == "EINVAL"


def test_a_time_that_was_set_stays_though_writes_were_under_way(web1):
    """As tar and rsync do it: write, set the time, close."""
    server, top = web1()
    for n in range(20):
        with open(f"{top}/f{n}", "wb", buffering=0) as f:
            f.write(content(300_000, n))
            os.utime(f.fileno(), (OLD, OLD))
        assert os.stat(f"{server.files}/f{n}").st_mtime == OLD
        assert os.stat(f"{top}/f{n}").st_mtime == OLD


def test_of_a_symlink_the_link_itself_is_changed(web1):
    server, top = web1()
    put(f"{top}/f", b"x")
    os.symlink("f", f"{top}/link")
    os.utime(f"{top}/link", (OLD, OLD), follow_symlinks=False)
    assert os.lstat(f"{server.files}/link").st_mtime == os.lstat(f"{top}/link").st_mtime == OLD
    assert os.stat(f"{server.files}/f").st_mtime > OLD


def test_mode_and_owner_are_set(web1):
    server, top = web1()
    put(f"{top}/f", b"x")
    os.chmod(f"{top}/f", 0o4751)
    assert stat.S_IMODE(os.stat(f"{server.files}/f").st_mode) == 0o4751
    os.chown(f"{top}/f", -1, os.getegid())
    if os.geteuid() == 0:
        os.chown(f"{top}/f", 1234, -1)
        st = os.stat(f"{server.files}/f")
        assert (st.st_uid, st.st_gid) == (1234, os.getegid())


def test_there_are_no_extended_attributes(web1):
    _, top = web1()
    put(f"{top}/f", b"x")
    assert error(os.setxattr, f"{top}/f", "user.a", b"x") == NOT_SUPPORTED
    assert error(os.getxattr, f"{top}/f", "user.a") in (NOT_SUPPORTED, "ENODATA")
    assert error(os.listxattr, f"{top}/f") in (NOT_SUPPORTED, "ok")


def test_locks_are_the_mounts_own(web1, mount):
    server, top = web1()
    put(f"{top}/f", b"x")
    other = another(mount, web1)

    def locked(path, how):
        """In another process: it cannot be locked there."""
        program = python("import fcntl, sys\n"
                         "f = open(sys.argv[1], 'r+b')\n"
                         f"fcntl.{how}(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", path)
        _, err = program.communicate(timeout=60)
        assert program.returncode == 0 or "BlockingIOError" in err, err
        return program.returncode != 0

    for how in ("flock", "lockf"):
        with open(f"{top}/f", "r+b") as f:
            getattr(fcntl, how)(f, fcntl.LOCK_EX)
            assert locked(f"{top}/f", how)
            assert not locked(f"{other}/f", how) and not locked(f"{server.files}/f", how)
        assert not locked(f"{top}/f", how)


# what is certain, and when


def test_fsync_is_the_servers_or_an_error(web1):
    server, top = web1(count_sftp=True)
    fd = os.open(f"{top}/f", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b"x")
    os.fsync(fd)
    os.close(fd)
    assert server.sftp_requests("fsync") == 1


def test_fsync_never_succeeds_silently(web1):
    """Where the server has no way to say so, and of a folder."""
    server, top = web1(sftp="internal-sftp -P fsync")
    os.mkdir(f"{top}/d")
    fd = os.open(f"{top}/f", os.O_WRONLY | os.O_CREAT, 0o644)
    folder = os.open(f"{top}/d", os.O_RDONLY)
    try:
        os.write(fd, b"x")
        assert error(os.fsync, fd) == error(os.fdatasync, fd) == error(os.fsync, folder) == "EINVAL"
        assert read(f"{server.files}/f") == b"x"
    finally:
        os.close(fd)
        os.close(folder)


def test_a_write_that_failed_is_told(web1):
    """To the next write, and to the next fsync or close: here the server's files may not grow past 1 MB."""
    limit = ["prlimit", "--fsize=1000000", "env", "--ignore-signal=XFSZ"]
    _, top = web1(runner=limit)
    for last in ("write", "fsync", "close"):
        fd = os.open(f"{top}/{last}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, b"x" * 1000, 2_000_000)
        if last == "write":
            wait_for(lambda f=fd: error(os.pwrite, f, b"y", 0) != "ok", 10 * SLOWER, "the error")
        elif last == "fsync":
            assert error(os.fsync, fd) != "ok"
        # fsync told whoever asks how it ended; a write may be one of a library's own
        assert (error(os.close, fd) == "ok") == (last == "fsync")


def test_a_lost_connection_with_writes_unanswered_is_told(sshd, proxy, mount):
    server = sshd("web1")
    link = proxy(server.port)
    m = mount(sshd.ini(server, ports={"web1": link.port}))
    with open(m.host("web1", "f"), "w+b", buffering=0) as f:
        f.write(b"kept")
        os.fsync(f)
        sent = m.metric("scoutfs_sftp_requests_total")
        link.stall()
        f.write(b"lost")
        wait_for(lambda: m.metric("scoutfs_sftp_requests_total") > sent, 10 * SLOWER, "the WRITE")
        link.cut()
        link.resume()
        assert error(os.fsync, f) == "EIO"
        assert os.pread(f.fileno(), 100, 0)[:4] == b"kept", "the file can be read on"
        os.pwrite(f.fileno(), b"once more", 4)
        os.fsync(f)
    assert read(f"{server.files}/f") == b"keptonce more"


def test_a_lost_connection_with_all_answered_does_not_show(web1):
    server, top = web1()
    fd = os.open(f"{top}/f", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b"one", 0)
    os.fsync(fd)
    lost = web1.mount.metric("scoutfs_hosts_sessions_lost_total")
    for pid in family(server.process.pid)[1:]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: web1.mount.metric("scoutfs_hosts_sessions_lost_total") > lost, 10, "the loss")
    os.pwrite(fd, b"two", 3)
    assert os.pread(fd, 10, 0) == b"onetwo"
    os.fsync(fd)
    os.close(fd)
    assert read(f"{server.files}/f") == b"onetwo"


def test_ctrl_c_of_a_call_that_modifies_may_find_it_done_or_not(web1):
    server, top = web1()
    os.listdir(top)
    server.freeze()
    try:
        program = python("import os, sys; os.mkdir(sys.argv[1])", f"{top}/d")
        wait_for(lambda: web1.mount.metric("scoutfs_requests_in_flight") >= 2, 20, "the mkdir")
        started = time.monotonic()
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=20)
        assert time.monotonic() - started < 20 * SLOWER and program.returncode != 0
    finally:
        server.thaw()
    assert error(os.mkdir, f"{top}/d") in ("ok", "EEXIST")
    assert os.listdir(top) == os.listdir(server.files) == ["d"]


def test_read_only_hosts_refuse_what_modifies(web1):
    server, top = web1({"read_only": "yes"})
    write(f"{server.files}/f", b"x")
    assert read(f"{top}/f") == b"x"
    for change in (lambda: put(f"{top}/g", b"x"), lambda: put(f"{top}/f", b"x"),
                   lambda: os.mkdir(f"{top}/d"), lambda: os.unlink(f"{top}/f"),
                   lambda: os.rename(f"{top}/f", f"{top}/g"), lambda: os.truncate(f"{top}/f", 0),
                   lambda: os.chmod(f"{top}/f", 0o600), lambda: os.utime(f"{top}/f", (1, 1)),
                   lambda: os.symlink("f", f"{top}/l"), lambda: os.link(f"{top}/f", f"{top}/l")):
        assert error(change) == "EROFS"
    assert os.listdir(server.files) == ["f"]


def test_copying_inside_a_host_moves_no_bytes(web1, sshd, proxy, mount):
    server = sshd("web1")
    link = proxy(server.port)
    top = mount(sshd.ini(server, ports={"web1": link.port})).host("web1")
    write(f"{server.files}/f", content(20 * MIB))
    os.stat(f"{top}/f")
    before = link.bytes_up + link.bytes_down
    subprocess.run(["cp", f"{top}/f", f"{top}/g"], check=True, timeout=60)
    assert link.bytes_up + link.bytes_down - before < MIB
    assert read(f"{server.files}/g") == content(20 * MIB)


def test_copying_inside_a_host_without_the_extension(web1):
    server, top = web1(sftp="internal-sftp -P copy-data")
    write(f"{server.files}/f", content(3 * MIB))
    with open(f"{top}/f", "rb") as f, open(f"{top}/g", "wb") as g:
        done = 0
        while got := os.copy_file_range(f.fileno(), g.fileno(), 10 * MIB):
            done += got
    assert done == 3 * MIB and read(f"{server.files}/g") == content(3 * MIB)
