"""Other servers than OpenSSH's built-in one: what is standard works on all of them, and what is an
extension is an error where it is missing."""

import os
import stat
import subprocess

import pytest

from asyncssh_server import AsyncSsh
from mount import SLOWER
from proftpd import Proftpd
from sshd import Sshd
from tools import MIB, content, error, read, sha256, together, write

SFTP_SERVER = "/usr/lib/openssh/sftp-server"
SERVERS = {
    "proftpd": Proftpd,
    "asyncssh": AsyncSsh,
    "sftp-server": lambda *args: Sshd(*args, sftp=SFTP_SERVER),
}


@pytest.fixture(params=SERVERS)
def server(request, folder, client_key):
    if request.param == "proftpd" and os.geteuid() != 0:
        pytest.fail("ProFTPD wants to be started by root")
    one = SERVERS[request.param](os.path.join(folder, request.param), request.param, client_key)
    try:
        yield one.start()
    finally:
        one.stop()


@pytest.fixture
def m(server, sshd, mount):
    return mount(sshd.ini(server, attr_timeout="0"))


class TestChanging:
    def test_names(self, server, m):
        """Made, moved over another, and removed, as on a local disk."""
        here, there = m.host(server.name, ""), server.files + "/"
        os.mkdir(here + "d", 0o751)
        assert stat.S_IMODE(os.stat(there + "d").st_mode) == 0o751
        assert error(os.mkdir, here + "d") == "EEXIST"
        os.mknod(here + "new", 0o640 | stat.S_IFREG)
        write(there + "old", b"old")
        write(there + "d/inside", b"inside")
        assert error(os.rmdir, here + "d") == "ENOTEMPTY"
        os.rename(here + "new", here + "old")
        assert os.stat(there + "old").st_size == 0
        assert sorted(os.listdir(there)) == ["d", "old"]
        os.mkdir(here + "e")
        assert error(os.rename, here + "e", here + "d") == "ENOTEMPTY"
        os.rename(here + "d", here + "e")
        assert read(there + "e/inside") == b"inside" == read(here + "e/inside")
        os.unlink(here + "e/inside")
        os.unlink(here + "old")
        os.rmdir(here + "e")
        assert error(os.unlink, here + "old") == "ENOENT"
        assert os.listdir(there) == [] == os.listdir(here)

    def test_links(self, server, m):
        here, there = m.host(server.name, ""), server.files + "/"
        write(there + "file", b"a file")
        os.symlink("./file", here + "link")
        assert os.readlink(there + "link") == "./file" and read(here + "link") == b"a file"
        assert error(os.symlink, "x", here + "link") == "EEXIST"
        if error(os.link, here + "file", here + "hard") == "ok":
            assert os.path.samefile(there + "file", there + "hard")
        assert sorted(set(os.listdir(there)) - {"hard"}) == ["file", "link"]

    def test_attributes(self, server, m):
        path = write(os.path.join(server.files, "f"), content(12345))
        here = m.host(server.name, "f")
        os.chmod(here, 0o604)
        os.truncate(here, 100)
        os.utime(here, (1_000_000_000, 1_234_567_890))
        os.chown(here, -1, os.getgid())
        st = os.stat(path)
        assert (stat.S_IMODE(st.st_mode), st.st_size, st.st_mtime) == (0o604, 100, 1_234_567_890)
        assert os.stat(here).st_size == 100 and read(here) == content(12345)[:100]


class TestReading:
    def test_attributes(self, server, m):
        path = write(os.path.join(server.files, "f"), content(12345))
        os.chmod(path, 0o640)
        os.utime(path, (1_000_000_000, 1_234_567_890))
        os.mkdir(os.path.join(server.files, "d"))
        got, real = os.stat(m.host(server.name, "f")), os.stat(path)
        for name in ("st_mode", "st_size", "st_uid", "st_gid", "st_mtime"):
            assert getattr(got, name) == getattr(real, name), name
        listed = subprocess.run(["ls", "-ln", m.host(server.name)], capture_output=True, text=True,
                                timeout=20 * SLOWER, check=True).stdout.splitlines()
        assert [line.split()[0] for line in listed[1:]] == ["drwxr-xr-x", "-rw-r-----"]

    def test_bytes(self, server, m):
        """By its pages, by ranges, by many at once."""
        data = content(50 * MIB)
        write(os.path.join(server.files, "large"), data)
        write(os.path.join(server.files, "empty"), b"")
        path = m.host(server.name, "large")
        told = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True,
                              timeout=40 * SLOWER).stdout
        assert told.split()[0] == sha256(data)
        assert read(m.host(server.name, "empty")) == b""
        with open(path, "rb", buffering=0) as f:
            assert os.pread(f.fileno(), 1000, 50 * MIB - 500) == data[-500:]
            assert os.pread(f.fileno(), 1000, 60 * MIB) == b""
        small = [content(30_000, n) for n in range(20)]
        for number, some in enumerate(small):
            write(os.path.join(server.files, f"s{number}"), some)
        assert together(lambda n=n: read(m.host(server.name, f"s{n}")) for n in range(20)) == small

    def test_listing(self, server, m):
        wanted = [f"n{number:04}" for number in range(1000)] + ["with space", "ümläut", "-dash"]
        for name in wanted:
            write(os.path.join(server.files, "many", name), b"x")
        assert sorted(os.listdir(m.host(server.name, "many"))) == sorted(wanted)
        assert all(entry.stat().st_size == 1 for entry in os.scandir(m.host(server.name, "many")))
        os.mkdir(os.path.join(server.files, "none"))
        assert os.listdir(m.host(server.name, "none")) == []

    def test_what_is_not_there(self, server, m):
        write(os.path.join(server.files, "f"), b"x")

        def at(*parts):
            return m.host(server.name, *parts)

        assert error(os.stat, at("missing")) == "ENOENT"
        assert error(read, at("missing")) == "ENOENT"
        assert error(os.listdir, at("missing")) == "ENOENT"
        assert error(os.listdir, at("f")) == "ENOTDIR"
        assert error(read, at()) == "EISDIR"
        assert error(os.readlink, at("f")) == "EINVAL"

    def test_symlinks(self, server, m):
        write(os.path.join(server.files, "d", "real"), b"of the host")
        for name, target in {"relative": "d/real", "absolute": server.files + "/d/real",
                             "dangling": "nowhere", "d/up": "../d/real"}.items():
            os.symlink(target, os.path.join(server.files, name))
        kinds = {e.name: e.is_symlink() for e in os.scandir(m.host(server.name))}
        assert kinds == {"d": False, "relative": True, "absolute": True, "dangling": True}
        for name in ("relative", "absolute", "d/up"):
            # ProFTPD 1.3.8 answers LSTAT as if it were STAT
            assert server.name == "proftpd" or os.path.islink(m.host(server.name, name))
            assert read(m.host(server.name, name)) == b"of the host", name
        assert error(read, m.host(server.name, "dangling")) == "ENOENT"


class TestWriting:
    def test_files(self, server, m):
        data = content(20 * MIB, 3)
        path, there = m.host(server.name, "new"), os.path.join(server.files, "new")
        write(path, data)
        assert sha256(read(there)) == sha256(data)
        assert sha256(read(path)) == sha256(data)
        with open(path, "r+b", buffering=0) as f:
            f.seek(5 * MIB)
            f.write(b"in the middle")
            os.ftruncate(f.fileno(), 6 * MIB)
            f.seek(0, os.SEEK_END)
            f.write(b"the end")
            told = error(os.fsync, f.fileno())
        assert told == "ok" or server.name == "proftpd" and told == "EINVAL", "ENOSYS as EINVAL"
        wanted = data[:5 * MIB] + b"in the middle" + data[5 * MIB + 13:6 * MIB] + b"the end"
        assert sha256(read(there)) == sha256(wanted)
        with open(path, "ab", buffering=0) as f:
            f.write(b" and more")
        assert read(there).endswith(b"the end and more")
        os.truncate(path, 7)
        assert read(there) == data[:7]
        write(path, b"")
        assert read(there) == b""
        assert error(os.open, path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) == "EEXIST"
        assert error(os.open, m.host(server.name, "missing", "new"),
                     os.O_CREAT | os.O_WRONLY) == "ENOENT"

    def test_names(self, server, m):
        def at(*parts):
            return m.host(server.name, *parts)

        there = server.files
        os.mkdir(at("d"))
        os.mkdir(at("d", "e"))
        assert error(os.mkdir, at("d")) == "EEXIST"
        assert error(os.rmdir, at("d")) == "ENOTEMPTY"
        write(at("a"), b"a")
        write(at("b"), b"b")
        os.rename(at("a"), at("b"))  # over it
        assert read(os.path.join(there, "b")) == b"a"
        assert sorted(os.listdir(there)) == ["b", "d"]
        os.rename(at("b"), at("d", "c"))
        assert read(at("d", "c")) == b"a"
        os.rename(at("d"), at("moved"))
        assert sorted(os.listdir(at("moved"))) == ["c", "e"]
        assert error(os.rename, at("missing"), at("x")) == "ENOENT"
        assert error(os.unlink, at("missing")) == "ENOENT"
        assert error(os.unlink, at("moved")) == "EISDIR"
        assert error(os.rmdir, at("moved", "c")) == "ENOTDIR"
        os.unlink(at("moved", "c"))
        os.rmdir(at("moved", "e"))
        os.rmdir(at("moved"))
        assert os.listdir(there) == []

    def test_attributes(self, server, m):
        path, there = m.host(server.name, "f"), os.path.join(server.files, "f")
        write(path, b"f")
        os.chmod(path, 0o640)
        os.utime(path, (1_000_000_000, 1_234_567_890))
        for one in (os.stat(path), os.stat(there)):
            assert (stat.S_IMODE(one.st_mode), one.st_mtime) == (0o640, 1_234_567_890)
        if os.geteuid() == 0:
            os.chown(path, 1, 1)
            assert (os.stat(there).st_uid, os.stat(there).st_gid) == (1, 1)

    def test_links(self, server, m):
        """A symlink says what it was told to say: servers do not agree on the order of its fields."""
        write(m.host(server.name, "f"), b"f")
        os.symlink("f", m.host(server.name, "l"))
        assert os.readlink(os.path.join(server.files, "l")) in ("f", server.files + "/f")
        assert read(m.host(server.name, "l")) == b"f"
        word = error(os.link, m.host(server.name, "f"), m.host(server.name, "hard"))
        assert word == "ok" and read(os.path.join(server.files, "hard")) == b"f" or \
            word == "EOPNOTSUPP" and not os.path.exists(os.path.join(server.files, "hard"))
        os.unlink(m.host(server.name, "l"))
        assert read(os.path.join(server.files, "f")) == b"f"

    def test_space(self, server, m):
        """True, or no numbers at all; never an error that breaks df."""
        space, real = os.statvfs(m.host(server.name)), os.statvfs(server.files)
        assert space.f_blocks * space.f_frsize in (0, real.f_blocks * real.f_frsize)
        assert subprocess.run(["df", m.host(server.name)], capture_output=True, check=False,
                              timeout=20 * SLOWER).returncode in (0, 1)

    def test_commands(self, server, m, folder):
        """A tree goes there by cp and comes back by tar."""
        for number in range(30):
            write(os.path.join(folder, "tree", f"d{number % 3}", f"f{number}"), content(5000, number))
        subprocess.run(["cp", "-r", folder + "/tree", m.host(server.name)], check=True,
                       timeout=60 * SLOWER)
        subprocess.run(["diff", "-r", folder + "/tree", os.path.join(server.files, "tree")],
                       check=True, timeout=60)
        os.mkdir(folder + "/back")
        subprocess.run(f"tar -C {m.host(server.name)} -c tree | tar -C {folder}/back -x",
                       shell=True, check=True, timeout=60 * SLOWER)
        subprocess.run(["diff", "-r", folder + "/tree", folder + "/back/tree"], check=True,
                       timeout=60)
        subprocess.run(["rm", "-r", m.host(server.name, "tree")], check=True, timeout=60 * SLOWER)
        assert os.listdir(server.files) == []


def test_a_server_that_only_reads(sshd, mount):
    """sftp-server -R: what modifies is refused, in a word that says so, and changes nothing."""
    web1 = sshd("web1", sftp=SFTP_SERVER + " -R")
    write(os.path.join(web1.files, "f"), b"f")
    os.mkdir(os.path.join(web1.files, "d"))
    m = mount(sshd.ini(web1))
    f, d, new = (m.host("web1", name) for name in ("f", "d", "new"))
    calls = {"write": lambda: os.open(f, os.O_WRONLY),
             "create": lambda: os.open(new, os.O_WRONLY | os.O_CREAT),
             "truncate": lambda: os.truncate(f, 0), "unlink": lambda: os.unlink(f),
             "mkdir": lambda: os.mkdir(new), "rmdir": lambda: os.rmdir(d),
             "rename": lambda: os.rename(f, new), "symlink": lambda: os.symlink("f", new),
             "link": lambda: os.link(f, new), "chmod": lambda: os.chmod(f, 0o777),
             "utime": lambda: os.utime(f, (1, 1))}
    words = {name: error(call) for name, call in calls.items()}
    assert words.pop("link") == "ENOTSUP", "not offered"
    assert set(words.values()) <= {"EACCES", "EROFS", "EPERM"}, words
    assert read(f) == b"f"
    assert sorted(os.listdir(web1.files)) == ["d", "f"]


def test_a_server_that_starts_in_a_folder(sshd, mount):
    """sftp-server -d: paths are whole ones, so it makes no difference."""
    web1 = sshd("web1", sftp=SFTP_SERVER + " -d /usr")
    m = mount(sshd.ini(web1))
    write(m.host("web1", "f"), b"f")
    assert read(os.path.join(web1.files, "f")) == b"f"
    assert os.listdir(m.host("web1")) == ["f"]
