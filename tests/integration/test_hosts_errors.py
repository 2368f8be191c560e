"""What a user sees when a host, a path or a call is not as it should be."""

import contextlib
import os
import socket
import stat
import subprocess
import threading

import pytest

from mount import SLOWER
from procs import free_port
from sshd import make_key
from tools import content, error, read, timed, write


def section(name, **keys):
    return f"[host {name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


NOBODY = "[hosts]\nssh_config =\nconnect_timeout = 2s\nhost_key_check = off\n"


@pytest.mark.basic
def test_closed_port(mount):
    m = mount(NOBODY, section("gone", hostname="127.0.0.1", port=free_port()))
    assert error(os.listdir, m.host("gone")) == "ECONNREFUSED"
    assert "refused" in m.status().lower()


def test_unresolvable_name(mount):
    # a label of 64 letters is no name: the resolver need not ask anybody
    m = mount(NOBODY, section("nowhere", hostname="x" * 64 + ".invalid"))
    assert error(os.listdir, m.host("nowhere")) == "EHOSTUNREACH"


def test_black_hole(mount, proxy):
    """It accepts and never answers: connect_timeout bounds the whole."""
    hole = proxy(1)
    hole.black_hole = True
    m = mount(NOBODY, section("hole", hostname="127.0.0.1", port=hole.port))
    word, seconds = timed(error, os.listdir, m.host("hole"))
    assert word == "ETIMEDOUT"
    assert 1.5 < seconds < 2 + 8 * SLOWER
    # and while it is down it says so at once
    word, seconds = timed(error, os.listdir, m.host("hole"))
    assert word == "ETIMEDOUT" and seconds < 1.9 * SLOWER


def test_connect_that_stops_half_way(sshd, mount, proxy):
    """Each step alone would be in time; the deadline is the whole connect's."""
    web1 = sshd("web1")
    slow = proxy(web1.port)
    slow.bytes_per_s = 500
    m = mount(sshd.ini(web1, ports={"web1": slow.port}, connect_timeout="2s"))
    word, seconds = timed(error, os.listdir, m.host("web1"))
    assert word == "ETIMEDOUT"
    assert seconds < 2 + 8 * SLOWER


def test_not_an_ssh_server(mount):
    over = threading.Event()

    def answer():
        listener.settimeout(0.1)
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                peer, _ = listener.accept()
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 400)
                peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        m = mount(NOBODY, section("web", hostname="127.0.0.1", port=listener.getsockname()[1]))
        server = threading.Thread(target=answer)
        server.start()
        try:
            assert error(os.listdir, m.host("web")) in ("EIO", "ECONNRESET")
        finally:
            over.set()
            server.join(10)


def test_refused_authentication(sshd, mount, folder):
    web1 = sshd("web1")
    stranger = make_key(os.path.join(folder, "stranger"))
    m = mount(sshd.ini(web1).replace(web1.client_key, stranger))
    assert error(os.listdir, m.host("web1")) == "EACCES"
    assert web1.logins() == 0


@pytest.mark.basic
def test_what_is_not_there(sshd, mount):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), b"x")
    m = mount(sshd.ini(web1))
    assert error(os.stat, m.host("nobody")) == "ENOENT"
    assert error(os.stat, m.host("web1", "nothing")) == "ENOENT"
    assert error(read, m.host("web1", "nothing", "below")) == "ENOENT"
    assert error(os.stat, m.host("web1", "f", "below")) == "ENOTDIR"
    assert error(os.listdir, m.host("web1", "f")) == "ENOTDIR"
    assert error(read, m.host("web1")) == "EISDIR"
    assert error(os.readlink, m.host("web1", "f")) == "EINVAL"


def test_a_missing_name_appears(sshd, mount):
    web1 = sshd("web1")
    m = mount(sshd.ini(web1, attr_timeout="0"))
    assert error(os.stat, m.host("web1", "late")) == "ENOENT"
    write(os.path.join(web1.files, "late"), b"now")
    assert read(m.host("web1", "late")) == b"now"


def test_permission_denied(sshd, mount):
    """Told by the server, which refuses this request to everybody."""
    web1 = sshd("web1", run=False)
    os.symlink("f", os.path.join(web1.files, "link"))
    configure = web1.configure

    def without_readlink():
        path = configure()
        with open(path, encoding="utf-8") as f:
            text = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("internal-sftp", "internal-sftp -P readlink"))
        return path
    web1.configure = without_readlink
    web1.start()
    m = mount(sshd.ini(web1))
    assert error(os.readlink, m.host("web1", "link")) == "EACCES"


@pytest.mark.basic
def test_a_read_only_host_says_erofs(sshd, mount):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), b"untouched")
    os.mkdir(os.path.join(web1.files, "d"))
    m = mount(sshd.ini(web1, read_only="yes"))
    f, d, new = (m.host("web1", name) for name in ("f", "d", "new"))
    calls = {
        "write": lambda: os.open(f, os.O_WRONLY),
        "read and write": lambda: os.open(f, os.O_RDWR),
        "append": lambda: os.open(f, os.O_WRONLY | os.O_APPEND),
        "open and truncate": lambda: os.open(f, os.O_WRONLY | os.O_TRUNC),
        "create": lambda: os.open(new, os.O_WRONLY | os.O_CREAT),
        "truncate": lambda: os.truncate(f, 1),
        "unlink": lambda: os.unlink(f),
        "mkdir": lambda: os.mkdir(new),
        "rmdir": lambda: os.rmdir(d),
        "rename": lambda: os.rename(f, new),
        "symlink": lambda: os.symlink("f", new),
        "link": lambda: os.link(f, new),
        "mknod": lambda: os.mknod(new, stat.S_IFREG | 0o600),
        "chmod": lambda: os.chmod(f, 0o777),
        "chown": lambda: os.chown(f, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(f, (1, 1)),
    }
    assert {name: error(call) for name, call in calls.items()} == dict.fromkeys(calls, "EROFS")
    assert read(os.path.join(web1.files, "f")) == b"untouched"
    assert sorted(os.listdir(web1.files)) == ["d", "f"]


@pytest.mark.basic
def test_the_mounts_own_directories_say_erofs(sshd, mount):
    m = mount(sshd.ini(sshd("web1")))
    calls = {
        "mkdir": lambda: os.mkdir(m.path("new")),
        "rmdir": lambda: os.rmdir(m.path("hosts")),
        "rename": lambda: os.rename(m.path("hosts"), m.path("new")),
        "symlink": lambda: os.symlink("x", m.path("new")),
        "create": lambda: os.open(m.path("new"), os.O_WRONLY | os.O_CREAT),
        "chmod": lambda: os.chmod(m.point, 0o777),
        "in .scoutfs": lambda: os.unlink(m.path(".scoutfs", "status")),
        "create in .scoutfs": lambda: os.open(m.path(".scoutfs", "new"), os.O_CREAT),
    }
    assert {name: error(call) for name, call in calls.items()} == dict.fromkeys(calls, "EROFS")


class TestSymlinks:
    @pytest.fixture
    def web1(self, sshd):
        web1 = sshd("web1")
        write(os.path.join(web1.files, "etc", "real"), b"of the host")
        for name, target in {"relative": "etc/real", "absolute": "/etc/real",
                             "dangling": "/no/such", "folder": "/etc",
                             "etc/up": "../etc/real", "outside": "../" * 30 + "etc/real",
                             "self": "self"}.items():
            os.symlink(target, os.path.join(web1.files, name))
        return web1

    @pytest.mark.basic
    def test_contained(self, sshd, mount, web1):
        m = mount(sshd.ini(web1))
        for name in ("relative", "absolute", "folder/real", "etc/up"):
            assert read(m.host("web1", name)) == b"of the host"
        assert error(read, m.host("web1", "dangling")) == "ENOENT"
        assert error(read, m.host("web1", "self")) == "ELOOP"
        for name in ("relative", "absolute", "folder", "outside", "etc/up"):
            target = os.readlink(m.host("web1", name))
            assert not os.path.isabs(target), "an absolute link would lead to this machine"
            where = os.path.normpath(os.path.join(os.path.dirname(m.host("web1", name)), target))
            assert (where + "/").startswith(m.host("web1") + "/"), "out of the host's tree"

    def test_raw(self, sshd, mount, web1):
        m = mount(sshd.ini(web1, symlinks="raw"))
        assert os.readlink(m.host("web1", "absolute")) == "/etc/real"
        assert os.readlink(m.host("web1", "relative")) == "etc/real"


@pytest.mark.basic
def test_attributes_are_the_hosts(sshd, mount):
    web1 = sshd("web1")
    path = write(os.path.join(web1.files, "f"), content(12345))
    os.chmod(path, 0o640)
    os.utime(path, (1_000_000_000, 1_234_567_890))
    os.mkfifo(os.path.join(web1.files, "pipe"))
    m = mount(sshd.ini(web1))
    got, real = os.stat(m.host("web1", "f")), os.stat(path)
    for name in ("st_mode", "st_size", "st_uid", "st_gid", "st_mtime", "st_atime"):
        assert getattr(got, name) == getattr(real, name), name
    assert stat.S_ISFIFO(os.lstat(m.host("web1", "pipe")).st_mode)
    assert stat.S_ISDIR(os.stat(m.host("web1")).st_mode)


def test_root_of_the_whole_host(sshd, mount):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), b"deep")
    m = mount(sshd.ini(web1).replace(f"root = {web1.files}", "root = /"))
    assert read(m.host("web1") + web1.files + "/f") == b"deep"


def test_missing_root(sshd, mount):
    web1 = sshd("web1")
    m = mount(sshd.ini(web1).replace(f"root = {web1.files}", f"root = {web1.files}/missing"))
    assert error(os.listdir, m.host("web1")) == "ENOENT"


def test_one_dead_host_among_many_commands(sshd, mount):
    """A grep over all hosts tells of the dead one, and finds what is on the others."""
    web1 = sshd("web1")
    write(os.path.join(web1.files, "log"), b"needle\n")
    m = mount(sshd.ini(web1), section("gone", hostname="127.0.0.1", port=free_port()))
    done = subprocess.run(["grep", "-r", "needle", m.path("hosts")], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stdout == f"{m.host('web1', 'log')}:needle\n"
    assert "gone" in done.stderr
