"""The command: its options, its errors, its way to the background and its end."""

import contextlib
import os
import pwd
import re
import resource
import shutil
import signal
import stat
import subprocess

import pytest

from mount import BINARY, SAN, SLOWER, TOP, clean_env, command, mounted, sanitizer_env
from procs import OPEN_FUSE, end, family, free_port, own_mounts, parents, tool, wait_for
from tools import error, read, write

SECRET = "not-to-be-seen-0123456789"


@pytest.fixture
def scoutfs(folder):
    """scoutfs(args…) runs it to its end; with its sanitizer's report, if any, as a failure."""
    home = os.path.join(folder, "home")
    os.makedirs(home)

    def run(*args, env=None, timeout=60):
        environ = clean_env(home, **sanitizer_env(folder), **(env or {}))
        return subprocess.run(command(*args), env=environ, cwd=folder, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)

    run.home = home
    yield run
    reports = [name for name in os.listdir(folder) if name.startswith("sanitizer.")]
    assert not reports, read(os.path.join(folder, reports[0])).decode()


@pytest.fixture
def ini(folder):
    def write_ini(text, mode=0o600, name="scoutfs.ini"):
        path = write(os.path.join(folder, name), text.encode())
        os.chmod(path, mode)
        return path
    return write_ini


@pytest.mark.basic
def test_help_and_version(scoutfs):
    done = scoutfs("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("usage: scoutfs", "MOUNTPOINT", "--check", "--version", "-f", "-o"):
        assert word in done.stdout
    done = scoutfs("--version")
    assert done.returncode == 0 and re.fullmatch(r"scoutfs \d+\.\d+(\.\d+)?\n", done.stdout)


def test_check_prints_what_is_in_force(scoutfs, ini):
    path = ini(f"""[scoutfs]
workers = 3
[hosts]
ssh_config =
connect_timeout = 1500ms
[host web1]
hostname = 192.0.2.1
[models]
bucket = some-models
access_key_id = AKID
secret_access_key = {SECRET}
""")
    done = scoutfs("--check", path, "-o", "hosts.max_sessions=7")
    assert (done.returncode, done.stderr) == (0, "")
    for line in (r"workers = 3", r"connect_timeout = 1500ms", r"max_sessions = 7", r"memory = 256M",
                 r"bucket = some-models", r"secret_access_key = \*+"):
        assert re.search(rf"^{line}$", done.stdout, re.M), line
    assert SECRET not in done.stdout and "web1" in done.stdout
    assert not mounted(os.path.join(scoutfs.home, "mnt"))


@pytest.mark.parametrize("word", ["--check", "--help", "--version"])
def test_what_cannot_be_printed_is_told(scoutfs, ini, folder, word):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(word, ini("[hosts]\nssh_config =\n")), stdout=full, stderr=subprocess.PIPE,
                              env=clean_env(scoutfs.home, **sanitizer_env(folder)), timeout=60, check=False)
    assert done.returncode == 1 and b"No space left" in done.stderr


def test_room_for_all_sessions_that_the_config_allows(mount):
    """As far as the hard limit allows."""
    usual, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        for sessions, files in ((10, 4096), (10_000, 40_000)):
            m = mount(f"[hosts]\nssh_config =\nmax_sessions = {sessions}\n[host web1]\n")
            assert resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE)[0] >= min(files, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, hard))


def test_all_errors_in_one_run(scoutfs, ini):
    path = ini("""[scoutfs]
workers = many
[hosts]
conect_timeout = 5s
max_sessions = 3
max_sessions = 4
[nonsense]
a = b
[models]
region = eu-west-1
""")
    done = scoutfs("--check", path)
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.startswith(f"scoutfs: {path}:") for line in lines), done.stderr
    told = {int(line.split(":")[2]) for line in lines}
    assert {2, 4, 6, 7} <= told, done.stderr
    assert f"scoutfs: {path}:4: unknown key 'conect_timeout' in [hosts] " \
           "(did you mean 'connect_timeout'?)" in lines
    assert any("bucket" in line for line in lines)


@pytest.mark.parametrize("line, word", [
    ("[hosts]\nconnect_timeout = soon", "connect_timeout"),
    ("[scoutfs]\nmemory = 1", "memory"),
    ("[scoutfs]\nlog_level = loud", "log_level"),
    ("[host a/b]\nhostname = x", "a/b"),
    ("[host ..]\nhostname = x", "\\.\\."),
    ("[hosts]\nread_only = perhaps", "read_only"),
    ("[models]\nbucket = x-y-z\nendpoint = ftp://x", "endpoint"),
    ("[models]\nbucket = x-y-z\nread_only = perhaps", "read_only"),
    ("no section = here", ":1:"),
    ("[hosts\nx = y", ":1:"),
])
def test_bad_values(scoutfs, ini, line, word):
    done = scoutfs("--check", ini(line + "\n"))
    assert done.returncode == 2 and re.search(word, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_secret_others_can_read_is_refused(scoutfs, ini):
    text = f"[models]\nbucket = some-models\naccess_key_id = A\nsecret_access_key = {SECRET}\n"
    path = ini(text, 0o644)
    done = scoutfs("--check", path)
    assert done.returncode == 2 and SECRET not in done.stderr
    assert re.search(r"chmod 600|readable by others", done.stderr)
    os.chmod(path, 0o600)
    assert scoutfs("--check", path).returncode == 0


def test_bad_command_lines(scoutfs, ini, folder):
    path = ini("[hosts]\nssh_config =\n")
    for args in ([], ["--nonsense"], [path, folder, "more"], [path, folder, "-o", "nonsense"],
                 [path, folder, "-o", "hosts.nonsense=1"], [path, folder, "-o", "nosymfollow"],
                 ["--check", os.path.join(folder, "missing.ini")],
                 [path, folder, "-o", f"models.secret_access_key={SECRET}"]):
        done = scoutfs(*args)
        assert done.returncode == 2 and done.stderr.startswith("scoutfs: "), (args, done.stderr)
        assert SECRET not in done.stderr


def test_where_the_config_is_looked_for(scoutfs, ini, folder):
    write(os.path.join(scoutfs.home, ".ssh", "config"), b"Host from-ssh-config\n  HostName 192.0.2.9\n")
    done = scoutfs("--check")
    assert done.returncode == 0 and "from-ssh-config" in done.stdout
    own = os.path.join(scoutfs.home, ".config", "scoutfs", "scoutfs.ini")
    write(own, b"[hosts]\nssh_config =\n[host from-home]\n")
    assert "from-home" in scoutfs("--check").stdout
    xdg = os.path.join(folder, "xdg")
    write(os.path.join(xdg, "scoutfs", "scoutfs.ini"), b"[hosts]\nssh_config =\n[host from-xdg]\n")
    done = scoutfs("--check", env={"XDG_CONFIG_HOME": xdg})
    assert "from-xdg" in done.stdout and "from-home" not in done.stdout


class Daemon:
    """One that went to the background: known by its mount point on its command line."""

    def __init__(self, point):
        self.point = point

    def pids(self):
        found = []
        for pid in parents():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if os.fsencode(self.point) in words:
                found.append(pid)
        return found

    def gone(self):
        return not self.pids() and not mounted(self.point)


@pytest.fixture
def background(scoutfs, ini, folder):
    point = os.path.join(folder, "mnt")
    os.mkdir(point)
    daemon = Daemon(point)
    yield daemon
    for pid in daemon.pids():
        os.kill(pid, signal.SIGKILL)
    if mounted(point):
        subprocess.run([tool("fusermount3"), "-uz", point], check=False, timeout=20)


@pytest.mark.basic
@pytest.mark.parametrize("by", ["fusermount3", signal.SIGTERM, signal.SIGINT])
def test_returns_once_mounted_and_ends_cleanly(scoutfs, ini, folder, background, by):
    log = os.path.join(folder, "log")
    path = ini(f"[scoutfs]\nlog_file = {log}\n[hosts]\nssh_config =\n[host web1]\n")
    done = scoutfs(path, background.point)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mounted(background.point)
    assert os.listdir(os.path.join(background.point, "hosts")) == ["web1"]
    pids = background.pids()
    assert len(pids) == 1 and family(pids[0]) == pids
    assert os.getsid(pids[0]) != os.getsid(0), "a Ctrl-C in the terminal is not for it"
    assert os.readlink(f"/proc/{pids[0]}/cwd") == "/"
    if by == "fusermount3":
        subprocess.run([tool("fusermount3"), "-u", background.point], check=True, timeout=20)
    else:
        os.kill(pids[0], by)
    wait_for(background.gone, 20, "its end")
    assert b"unmounted" in read(log)


@pytest.mark.parametrize("what", ["missing", "a file"])
def test_a_mount_that_fails_says_so(scoutfs, ini, background, what):
    point = background.point
    os.rmdir(point)
    if what == "a file":
        write(point, b"")
    for args in ([], ["-f"]):
        done = scoutfs(ini("[hosts]\nssh_config =\n"), point, *args)
        assert done.returncode == 1, done
        assert point in done.stderr
        assert background.gone()


# mount(8) looks for programs in the usual places only: here is one, for this script alone
MOUNT_T = """
set -e
mount --bind "$1" /usr/local/bin
mount -t fuse.scoutfs "$2" "$3" -o ro,_netdev,x-systemd.automount,hosts.max_sessions=5
grep " $3 " /proc/self/mounts
ls "$3/hosts"
umount "$3"
"""


def test_mount_t_fuse_scoutfs(ini, folder, background):
    if os.geteuid() != 0:
        pytest.skip("mount(8) is root's")
    bin_folder = os.path.join(folder, "bin")
    settings = [f"{name}={value}" for name, value in sanitizer_env(folder).items()]
    words = " ".join(f"'{word}'" for word in ["env", *settings, *command()])
    program = write(os.path.join(bin_folder, "scoutfs"), f'#!/bin/sh\nexec {words} "$@"\n'.encode())
    os.chmod(program, 0o755)
    path = ini("[hosts]\nssh_config =\n[host web1]\n")
    done = subprocess.run([*own_mounts(), "sh", "-c", MOUNT_T, "sh", bin_folder, path,
                           background.point], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    source, point, kind, options = done.stdout.split()[:4]
    assert (source, point, kind) == (path, background.point, "fuse.scoutfs")
    assert "ro" in options.split(",")
    assert done.stdout.splitlines()[1:] == ["web1"]
    wait_for(background.gone, 20, "its end")


def test_owner_and_umask_options(sshd, mount):
    web1 = sshd("web1")
    path = write(os.path.join(web1.files, "f"), b"x")
    os.chmod(path, 0o666)
    m = mount(sshd.ini(web1), options=["-o", "uid=12,gid=34,umask=027"])
    got = os.stat(m.host("web1", "f"))
    assert (got.st_uid, got.st_gid, stat.S_IMODE(got.st_mode)) == (12, 34, 0o640)


def test_overrides_win_over_the_file(mount):
    m = mount("[hosts]\nssh_config =\nconnect_timeout = 30s\n"
              f"[host gone]\nhostname = 127.0.0.1\nport = {free_port()}\n",
              options=["-o", "hosts.connect_timeout=2s,scoutfs.memory=32M"])
    assert m.metric("scoutfs_buffer_limit_bytes") == 32 << 20
    assert error(os.listdir, m.host("gone")) == "ECONNREFUSED"


def test_install(folder):
    done = subprocess.run(["make", "--no-print-directory", "-C", TOP, "install",
                           f"BUILD={os.path.relpath(os.path.dirname(BINARY), TOP)}",
                           f"SAN={os.environ.get('SCOUTFS_SAN', '')}", f"DESTDIR={folder}/d", "PREFIX=/usr"],
                          capture_output=True, text=True, timeout=120, check=False,
                          env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    assert done.returncode == 0, done.stderr
    installed = {os.path.relpath(os.path.join(where, name), f"{folder}/d")
                 for where, _, names in os.walk(f"{folder}/d") for name in names}
    assert {"usr/bin/scoutfs", "usr/share/doc/scoutfs/scoutfs.ini",
            "usr/share/doc/scoutfs/examples/minimal.ini"} <= installed
    assert os.access(f"{folder}/d/usr/bin/scoutfs", os.X_OK)


@pytest.mark.parametrize("words, told", [
    ("ro", "ro"), ("rw", "rw"), ("suid", ""), ("nosuid", "nosuid"), ("dev", ""), ("nodev", "nodev"),
    ("exec", ""), ("noexec", "noexec"), ("atime", ""), ("noatime", "noatime"), ("sync", "sync"),
    ("async", ""), ("dirsync", "dirsync"), ("relatime,nodiratime,diratime,norelatime,strictatime,nostrictatime", ""),
    ("lazytime,nolazytime,silent,loud,iversion,noiversion,mand,nomand", ""),
    ("allow_other", "allow_other"), ("allow_root", "allow_other"),
    ("default_permissions", "default_permissions"), ("max_read=65536", "max_read=65536"),
    ("auto_unmount", ""), (r"fsname=a\,b", ""), ("fsname=x,subtype=scoutfs,max_read=131072", "")])
def test_mount_options_are_taken(scoutfs, ini, background, words, told):
    if told == "allow_other" and os.geteuid() != 0 and not re.search(
            rb"^user_allow_other", read("/etc/fuse.conf"), re.M):
        pytest.skip("/etc/fuse.conf forbids it to other users than root")
    path = ini("[hosts]\nssh_config =\n[host web1]\n")
    done = scoutfs(path, background.point, "-s", "-o", words)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(os.path.join(background.point, "hosts")) == ["web1"]
    line = next(line.split() for line in read("/proc/self/mounts").decode().splitlines()
                if background.point in line.split())
    assert not told or told in line[3].split(",")
    if "fsname" in words:
        assert line[0] == words.split("=")[1].replace("\\", "").removesuffix(",subtype")
    subprocess.run([tool("fusermount3"), "-u", background.point], check=True, timeout=20)
    wait_for(background.gone, 20, "its end")


def test_closed_standard_descriptors(scoutfs, ini, folder, background):
    """They would be given to the next file: /dev/fuse must not become what /dev/null replaces."""
    path = ini("[hosts]\nssh_config =\n[host web1]\n")
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command(path, background.point)],
                          env=clean_env(scoutfs.home, **sanitizer_env(folder)), timeout=60, check=False)
    assert done.returncode == 0
    assert os.listdir(os.path.join(background.point, "hosts")) == ["web1"]
    subprocess.run([tool("fusermount3"), "-u", background.point], check=True, timeout=20)
    wait_for(background.gone, 20, "its end")


def test_a_log_file_that_cannot_be_opened(scoutfs, ini, background):
    path = ini("[scoutfs]\nlog_file = /nonexistent/log\n[hosts]\nssh_config =\n")
    done = scoutfs(path, background.point)
    assert done.returncode == 1 and "/nonexistent/log" in done.stderr
    assert background.gone()


def test_backends_that_fail_take_the_mount_with_them(scoutfs, ini, folder, background):
    """They start after the mount; the shell hears of it, and nothing stays."""
    path = ini("[hosts]\nssh_config =\n[models]\nbucket = some-models\n")
    done = scoutfs(path, background.point, env={"AWS_SHARED_CREDENTIALS_FILE": folder})
    assert done.returncode == 1 and "cannot start" in done.stderr, done
    assert background.gone()


few = pytest.mark.skipif("address" in SAN or "thread" in SAN, reason="a sanitizer needs more itself")


@few
@pytest.mark.parametrize("descriptors", range(4, 14))
def test_with_few_descriptors_it_serves_or_says_no(scoutfs, ini, folder, background, descriptors):
    """Exit status 0 is a mount that answers; with any other there is none, and a reason."""
    log = os.path.join(folder, "log")
    path = ini(f"[scoutfs]\nlog_file = {log}\n[hosts]\nssh_config =\n[host web1]\n")
    done = subprocess.run(["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh",
                           *command(path, background.point)], env=clean_env(scoutfs.home), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == (1 if done.stderr else 0), done
    if done.returncode == 0:
        assert os.listdir(os.path.join(background.point, "hosts")) == ["web1"]
        subprocess.run([tool("fusermount3"), "-u", background.point], check=True, timeout=20)
    wait_for(background.gone, 20, "its end")
    assert done.returncode or b"unmounted" in read(log)


# $1 is its mount point, the rest is the command; as a user who runs nothing else
FEW_THREADS = """
cd "${1%/*}"
point=$1
shift
for most in $(seq 3 14); do
	rm -f log
	if (ulimit -u $most && exec "$@") >/dev/null 2>told; then
		[ "$(ls "$point/hosts")" = web1 ] && fusermount3 -u "$point" && echo "$most serves"
	else
		[ -s told ] && ! grep -q " $point " /proc/self/mounts && echo "$most does not: $(cat told)"
	fi || echo "$most is wrong: $(cat told)"
	while pgrep -U "$UID" -x scoutfs >/dev/null; do sleep .02; done
done
"""


@few
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who runs nothing else")
def test_with_few_threads_it_serves_or_says_no(ini, folder):
    home, device = os.path.join(folder, "few"), os.path.join(folder, "device")
    os.makedirs(os.path.join(home, "mnt"))
    os.mkdir(device)
    uid = pwd.getpwnam("games").pw_uid  # fusermount3 must know a name
    for path in (home, os.path.join(home, "mnt")):
        os.chown(path, uid, uid)
    path = ini(f"[scoutfs]\nlog_file = {home}/log\n[hosts]\nssh_config =\n[host web1]\n", mode=0o644)
    shutil.copy(BINARY, os.path.join(home, "scoutfs"))  # the checkout may lie where others cannot go
    done = subprocess.run([*own_mounts(), "sh", "-c", OPEN_FUSE, "sh", device, tool("setpriv"), f"--reuid={uid}",
                           "--clear-groups", "bash", "-c", FEW_THREADS, "-", os.path.join(home, "mnt"),
                           os.path.join(home, "scoutfs"), path, os.path.join(home, "mnt")], env=clean_env("/"), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert "wrong" not in done.stdout, done.stdout
    assert "serves" in done.stdout and "does not" in done.stdout, done


@few
def test_the_end_needs_no_descriptor(mount):
    m = mount("[hosts]\nssh_config =\n[host web1]\n")
    hard = resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    assert os.listdir(m.path("hosts")) == ["web1"]
    m.unmount()


def test_why_it_cannot_start_is_told_to_its_caller(scoutfs, ini, folder, background):
    """Also where there is a log file."""
    log = os.path.join(folder, "log")
    path = ini(f"[scoutfs]\nlog_file = {log}\n[hosts]\nssh_config =\n[models]\nbucket = models\n"
               "endpoint = http://127.0.0.1:9\nprofile = nobody\n")
    for more in ([], ["-f"]):
        done = scoutfs(path, background.point, *more)
        assert done.returncode == 1 and "no profile nobody" in done.stderr
        assert b"no profile nobody" in read(log) and background.gone()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_signals_while_it_starts(scoutfs, ini, folder, background, by):
    """Whenever it comes: before the mount, within, or after, no mount is left that nobody serves."""
    path = ini("[hosts]\nssh_config =\n[host web1]\n")
    for delay in range(40):
        process = subprocess.Popen(command(path, background.point, "-f"),
                                   env=clean_env(scoutfs.home, **sanitizer_env(folder)),
                                   stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay / 2000 * SLOWER)
            process.send_signal(by)
            assert process.wait(20) in (0, -by)
            assert not mounted(background.point), delay
        finally:
            end(process)


def test_whoever_read_its_messages_may_go(scoutfs, ini, folder, background):
    path = ini("[hosts]\nssh_config =\n[host web1]\n")
    out, into = os.pipe()
    os.close(out)
    process = subprocess.Popen(command(path, background.point, "-f"),
                               env=clean_env(scoutfs.home, **sanitizer_env(folder)),
                               stdin=subprocess.DEVNULL, stdout=into, stderr=into)
    os.close(into)
    try:
        wait_for(lambda: mounted(background.point), 20, "the mount")
        assert os.listdir(os.path.join(background.point, "hosts")) == ["web1"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0 and not mounted(background.point)
    finally:
        end(process)


def test_a_missing_profile_is_no_mount(scoutfs, ini, background):
    path = ini("[hosts]\nssh_config =\n[models]\nbucket = models\nendpoint = http://127.0.0.1:9\n"
               "profile = nobody\n")
    done = scoutfs(path, background.point)
    assert done.returncode == 1 and "no profile nobody" in done.stderr
    assert not mounted(background.point)
