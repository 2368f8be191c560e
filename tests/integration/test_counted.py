"""What everyday work costs, counted: SFTP requests by kind, and round trips of the link.

Requests are the server's own count. Round trips are those that waited for one another (proxy.py), so
they are what a distance adds: each costs the link's latency once. attr_timeout is longer than the
work, so that the figures do not depend on the machine's speed.
"""

import os
import shutil
import subprocess
import tarfile

import pytest

from mount import TOP
from procs import wait_for
from tools import content, write

RTT = 0.003  # above what a program thinks between two requests
OLD = 1_600_000_000
pytestmark = [pytest.mark.seconds(200)]


def tree(top, files, folders, size=1000):
    """files in folders, all old, so that nobody doubts their times."""
    for n in range(files):
        path = os.path.join(top, f"d{n % folders}", f"f{n}")
        write(path, content(size, n % 7))
        os.utime(path, (OLD, OLD))
    for n in range(folders):
        os.utime(os.path.join(top, f"d{n}"), (OLD, OLD))
    return top


def command(*argv):
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
           "LC_ALL": "C"}
    return subprocess.run(argv, check=True, env=env, stdin=subprocess.DEVNULL, timeout=200,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


class Counted:
    """A mount whose server's requests and whose link's round trips are counted."""

    def __init__(self, server, link, m, local):
        self.server, self.link, self.m, self.local = server, link, m, local
        self.top = m.host(server.name)

    def idle(self):
        """CLOSE is not waited for: counted it is."""
        wait_for(lambda: self.m.metric("scoutfs_hosts_requests") == 0, 20, "the last answers")

    def count(self, work):
        """(requests by kind, round trips)"""
        self.idle()
        before = self.server.sftp_counts()
        self.link.reset_counts()
        work()
        self.idle()
        return self.server.sftp_counts() - before, self.link.round_trips


@pytest.fixture
def counted(sshd, proxy, mount, folder):
    """counted() mounts anew, what the kernel knew is forgotten."""
    server = sshd("web1", count_sftp=True)
    link = proxy(server.port)
    local = os.path.join(folder, "local")
    os.mkdir(local)

    def start(rtt=RTT):
        for one in start.mounts:
            one.unmount()
        link.rtt = 0
        m = mount(sshd.ini(server, ports={"web1": link.port}, attr_timeout="600s"))
        start.mounts = [m]
        os.path.exists(m.host("web1", "none"))  # the connection is not what is counted
        link.rtt = rtt
        return Counted(server, link, m, local)

    start.mounts = []
    return start


def row(work, requests, round_trips):
    kinds = ", ".join(f"{kind} {n}" for kind, n in sorted(requests.items(),
                                                          key=lambda kind: (-kind[1], kind)))
    return f"| {work} | {round_trips} | {sum(requests.values())} | {kinds} |"


def hold(work, found):
    """What is found is at most what README's table says, kind by kind.

    Nobody waits for CLOSE: each counts as a round trip when the program thinks longer than RTT after
    it, as it does on a machine that has other things to do. Such a machine also parts now and then what
    would have gone out together.
    """
    requests, round_trips = found
    words = row(work, *found)
    print(words)
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        told = [line.strip("| \n").split(" | ") for line in f if line.startswith(f"| {work} |")]
    assert len(told) == 1, f"README's table has no row of its own:\n{words}"
    most = {kind: int(n) for kind, n in (pair.rsplit(" ", 1) for pair in told[0][3].split(", "))}
    assert sum(most.values()) == int(told[0][2]), "its sum is wrong"
    assert all(n <= most.get(kind, 0) for kind, n in requests.items()), words
    assert round_trips <= int(told[0][1]) * 1.05 + requests["close"], words


def test_ls_l(counted):
    c = counted()
    for n in range(1000):
        write(os.path.join(c.server.files, "large", f"f{n}"), b"x")
    c = counted()
    hold("`ls -l` of 1,000 files", c.count(lambda: command("ls", "-l", f"{c.top}/large")))
    again, _ = c.count(lambda: command("ls", "-l", f"{c.top}/large"))
    assert again["lstat"] <= 1, "the listing is asked for again, its files are not"


def test_a_small_file(counted):
    c = counted()

    def create():
        with open(os.path.join(c.top, "f"), "xb", buffering=0) as f:
            f.write(b"x" * 100)

    hold("create, write 100 bytes, close", c.count(create))


def test_git_status(counted):
    c = counted(rtt=0)
    top = tree(os.path.join(c.server.files, "repo"), 1000, 20)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.directory=*"]
    command(*git, "-C", top, "init", "-q")
    command(*git, "-C", top, "add", ".")
    command(*git, "-C", top, "commit", "-q", "-m", "all")

    def status():
        assert command(*git, "-C", f"{c.top}/repo", "status", "--porcelain") == ""

    status()  # the index learns what files look like here
    c = counted()
    hold("`git status` of 1,000 files in 20 folders", c.count(status))
    hold("`git status` again", c.count(status))


def test_tar(counted):
    c = counted()
    top = tree(os.path.join(c.local, "t"), 500, 10)
    with tarfile.open(f"{c.local}/t.tar", "w") as tar:
        tar.add(top, "t")
    hold("`tar x` of 500 files in 10 folders",
         c.count(lambda: command("tar", "xf", f"{c.local}/t.tar", "-C", c.top)))
    assert command("diff", "-r", top, os.path.join(c.server.files, "t")) == ""


def test_rsync(counted):
    c = counted()
    top = tree(os.path.join(c.local, "t"), 200, 10)

    def rsync():
        return command("rsync", "-a", "--itemize-changes", f"{top}/", f"{c.top}/t/")

    hold("`rsync -a` of 200 files in 10 folders", c.count(rsync))
    assert command("diff", "-r", top, os.path.join(c.server.files, "t")) == ""
    c = counted()
    said = []
    hold("`rsync -a` again: nothing is transferred", c.count(lambda: said.append(rsync())))
    assert said == [""], "something was transferred again"


def test_cp_r(counted):
    c = counted()
    top = tree(os.path.join(c.local, "t"), 100, 10)
    hold("`cp -r` of 100 files in 10 folders",
         c.count(lambda: command("cp", "-r", top, c.top)))
    assert command("diff", "-r", top, os.path.join(c.server.files, "t")) == ""


def test_cp_inside_the_host(counted):
    c = counted()
    write(os.path.join(c.server.files, "f"), content(8 << 20))
    up, down = c.link.bytes_up, c.link.bytes_down
    hold("`cp` of 8 MiB inside one host",
         c.count(lambda: command("cp", f"{c.top}/f", f"{c.top}/g")))
    assert c.link.bytes_up + c.link.bytes_down < 100_000 + up + down, "its bytes went over the link"
    shutil.copyfile(os.path.join(c.server.files, "g"), f"{c.local}/g")
    assert open(f"{c.local}/g", "rb").read() == content(8 << 20)
