"""Servers that lie: each lie has its errno and its line in the log, soon; no other host notices, and
an honest answer is believed again."""

import os
import re
import stat

import pytest

from hostile import (ATTRS, DATA, EXTENDED_REPLY, FAILURE, HANDLE, NAME, OK, STATUS, VERSION, Hostile,
                     attrs, data, names, packet, status, string, u32, u64)
from mount import SLOWER
from procs import wait_for
from tools import MIB, Background, content, error, read

# far above what an honest answer takes here, except where a timeout is what is asked for
PATIENT = {"connect_timeout": "20s", "request_timeout": "20s", "keepalive": "0",
           "attr_timeout": "0"}
HURRY = {**PATIENT, "connect_timeout": f"{SLOWER}s", "request_timeout": f"{SLOWER}s"}
FILES = {"/warm": b"warm", "/f": content(100_000), "/d": None, "/l": "target", "/x": b"x", "/e": None,
         **{f"/d/n{number}": b"" for number in range(10)}}
REG = stat.S_IFREG | 0o644


def drip(answer):
    return [part for n in range(len(answer)) for part in (answer[n:n + 1], 0.2)]


def named(*wanted):
    return lambda r, a: [names(r.id, [(name, attrs(0, REG)) for name in wanted])]


NO_SPACE, QUOTA = 14, 15  # of later versions of the protocol, where a server knows them
LATE = "ETIMEDOUT|EIO"  # EIO: after three attempts, each of which took request_timeout
# to what is answered by a status only
NO_STATUS = {
    "garbage": (lambda r, a: [b"\xde\xad\xbe\xef" * 500], "EIO", "impossible length"),
    "attributes": (lambda r, a: [packet(ATTRS, u32(r.id) + attrs(1, REG))], "EIO", "another kind"),
    "a handle": (lambda r, a: [packet(HANDLE, u32(r.id) + string("h"))], "EIO", "another kind"),
    "no such status": (lambda r, a: [status(r.id, 4_000_000_000)], "EIO", "[a-z]+ /"),
    "closed": (lambda r, a: [Hostile.HANG_UP], "EIO", "closed|lost"),
    "never": (lambda r, a: [], LATE, "no answer for"),
}
# what is asked for: {the lie: (what is sent, the errno, what the log says of it)}
LIES = {
    "init": {
        "version 2": (lambda r, a: [packet(VERSION, u32(2))], "EIO", "not an SFTP server"),
        "version 4": (lambda r, a: [packet(VERSION, u32(4))], "EIO", "not an SFTP server"),
        "no version": (lambda r, a: [packet(VERSION, b"")], "EIO", "impossible length"),
        "a welcome": (lambda r, a: [b"Welcome to this machine!\n", a], "EIO", "impossible length"),
        "half an extension": (lambda r, a: [packet(VERSION, u32(3) + string("x") + u32(9))], "EIO",
                              "not an SFTP server"),
        "a megabyte of extensions": (lambda r, a: [packet(VERSION, u32(3) + string("x" * MIB) +
                                                          string("1"))], "EIO",
                                     "impossible length"),
        "an answer before": (lambda r, a: [status(7, OK)], "EIO", "not an SFTP server"),
        "two versions": (lambda r, a: [a, a], "EIO", "before any request|unknown"),
        "closed": (lambda r, a: [Hostile.HANG_UP], "EIO|ECONNRESET", "closed|lost"),
        "never": (lambda r, a: [], LATE, "did not answer in time|ETIMEDOUT"),
    },
    "limits@openssh.com": {
        "of a wrong shape": (lambda r, a: [packet(EXTENDED_REPLY, u32(r.id) + u32(1))], "EIO",
                             "malformed limits"),
        "of another request": (lambda r, a: [packet(EXTENDED_REPLY, u32(7) + u64(0) * 4)], "EIO",
                               "unknown request"),
        "names": (lambda r, a: [names(r.id, [])], "EIO", "unknown type"),
    },
    "lstat": {
        "garbage": (lambda r, a: [b"\xde\xad\xbe\xef" * 500], "EIO", "impossible length"),
        "text": (lambda r, a: [b"Segmentation fault\n"], "EIO", "impossible length"),
        "4 GiB": (lambda r, a: [b"\xff\xff\xff\xff" + a[4:]], "EIO", "impossible length"),
        "no length": (lambda r, a: [u32(0) + a[4:]], "EIO", "impossible length"),
        "only a type": (lambda r, a: [u32(1) + bytes([ATTRS])], "EIO", "impossible length"),
        "truncated, closed": (lambda r, a: [a[:-3], Hostile.HANG_UP], "EIO", "closed|lost"),
        "closed": (lambda r, a: [Hostile.HANG_UP], "EIO", "closed|lost"),
        "never": (lambda r, a: [], LATE, "no answer for"),
        "a drip": (lambda r, a: drip(a), LATE, "ETIMEDOUT"),
        "unknown id": (lambda r, a: [packet(ATTRS, u32(r.id ^ 0x100) + attrs(1, REG))], "EIO",
                       "unknown request"),
        "unknown type": (lambda r, a: [packet(99, u32(r.id))], "EIO", "another kind"),
        "a second VERSION": (lambda r, a: [packet(VERSION, u32(3))], "EIO", "unknown"),
        "a request": (lambda r, a: [packet(7, u32(r.id) + string("/f"))], "EIO", "another kind"),
        "success": (lambda r, a: [status(r.id, OK)], "EIO", "success without"),
        "no such status": (lambda r, a: [status(r.id, 4_000_000_000)], "EIO", "getattr"),
        "end of file": (lambda r, a: [status(r.id, 1)], "EIO", "getattr"),
        "half a status": (lambda r, a: [packet(STATUS, u32(r.id) + b"\0\0")], "EIO", "truncated"),
        "a status of text": (lambda r, a: [packet(STATUS, u32(r.id) + string("failure"))],
                             "EIO", "getattr"),
        "data": (lambda r, a: [data(r.id, b"x")], "EIO", "data that was not asked for"),
        "names": (named("f"), "EIO", "another kind"),
        "a handle": (lambda r, a: [packet(HANDLE, u32(r.id) + string("h"))], "EIO",
                     "another kind"),
        "half of the attributes": (lambda r, a: [packet(ATTRS, u32(r.id) + attrs(1, REG)[:-2])],
                                   "EIO", "attributes"),
        "endless attributes": (lambda r, a: [packet(ATTRS, u32(r.id) + u32(1 << 31) +
                                                    u32(0xffffffff))], "EIO", "attributes"),
        "EXTENDED_REPLY": (lambda r, a: [packet(EXTENDED_REPLY, u32(r.id) + b"x")], "EIO",
                           "another kind"),
    },
    "open": {
        "a handle of 300 bytes": (lambda r, a: [packet(HANDLE, u32(r.id) + string("h" * 300))],
                                  "EIO", "handle"),
        "half a handle": (lambda r, a: [packet(HANDLE, u32(r.id) + u32(8) + b"hhh")], "EIO",
                          "handle"),
        "attributes": (lambda r, a: [packet(ATTRS, u32(r.id) + attrs(1, REG))], "EIO",
                       "another kind"),
        "success": (lambda r, a: [status(r.id, OK)], "EIO", "success without"),
        "never": (lambda r, a: [], LATE, "no answer for|ETIMEDOUT"),
    },
    "read": {
        "more than asked": (lambda r, a: [data(r.id, b"x" * 300_000)], "EIO",
                            "impossible length|wrong length"),
        "a byte more": (lambda r, a: [data(r.id, b"x" * 32769)], "EIO", "wrong length"),
        "length beyond the packet": (lambda r, a: [packet(DATA, u32(r.id) + u32(100) + b"x")],
                                     "EIO", "wrong length"),
        "data of 4 GiB": (lambda r, a: [packet(DATA, u32(r.id) + u32(0xffffffff) + b"x")], "EIO",
                          "wrong length"),
        "success": (lambda r, a: [status(r.id, OK)], "EIO", "success without"),
        "no bytes": (lambda r, a: [data(r.id, b"")], "EIO", "ends it before its size"),
        "the end": (lambda r, a: [status(r.id, 1)], "EIO", "ends it before its size"),
        "half": (lambda r, a: [status(r.id, 1) if r.offset else a], "EIO",
                 "ends it before its size"),
        "cut in the middle": (lambda r, a: [a[:1000], Hostile.HANG_UP], "EIO", "closed|lost"),
        "stuck in the middle": (lambda r, a: [a[:1000], 3600.0], LATE, "ETIMEDOUT"),
        "a drip": (lambda r, a: drip(a), LATE, "ETIMEDOUT"),
    },
    "opendir": {
        "a handle of 300 bytes": (lambda r, a: [packet(HANDLE, u32(r.id) + string("h" * 300))],
                                  "EIO", "handle"),
        "never": (lambda r, a: [], LATE, "no answer for|ETIMEDOUT"),
    },
    "readdir": {
        "2^32-1 names": (lambda r, a: [packet(NAME, u32(r.id) + u32(0xffffffff))], "EIO",
                         "malformed names"),
        "fewer than counted": (lambda r, a: [packet(NAME, u32(r.id) + u32(2) + string("a") +
                                                    string("") + u32(0))], "EIO",
                               "malformed names"),
        "a NUL": (named("a", "b\0c"), "EIO", "malformed names"),
        "success": (lambda r, a: [status(r.id, OK)], "EIO", "success without"),
        "endless": (lambda r, a: [names(r.id, [(f"{n:0200}", attrs(0, REG)) for n in range(900)])],
                    "EOVERFLOW", "EOVERFLOW"),
        "endless, all bad": (lambda r, a: [names(r.id, [("..", u32(0))] * 10_000)], "EOVERFLOW",
                             "EOVERFLOW"),
        "never": (lambda r, a: [], LATE, "no answer for|ETIMEDOUT"),
    },
    "readlink": {
        "no name": (lambda r, a: [names(r.id, [])], "EIO", "malformed names"),
        "two names": (named("a", "b"), "EIO", "malformed names"),
        "an empty name": (named(""), "EIO", "readlink"),
        "a NUL": (named("a\0b"), "EIO", "malformed names"),
        "a long one": (named("x" * 30_000), "EIO|ENAMETOOLONG", "readlink"),
    },
    "write": {
        **NO_STATUS,
        "short": (lambda r, a: [packet(STATUS, u32(r.id))], "EIO", "impossible length|truncated"),
        "an unknown id": (lambda r, a: [status(r.id ^ 0x100, OK)], "EIO", "unknown request"),
        "refused": (lambda r, a: [status(r.id, FAILURE)], "EIO", "write"),
        "a full disk": (lambda r, a: [status(r.id, NO_SPACE)], "ENOSPC", "write"),
        "a quota": (lambda r, a: [status(r.id, QUOTA)], "EDQUOT", "write"),
        "the end": (lambda r, a: [status(r.id, 1)], "EIO", "write"),
    },
    **{kind: NO_STATUS for kind in ("mkdir", "remove", "rmdir", "rename", "setstat", "symlink")},
    "hardlink@openssh.com": NO_STATUS,
    "fsync@openssh.com": NO_STATUS,
    "posix-rename@openssh.com": NO_STATUS,
    "statvfs@openssh.com": {
        "success": (lambda r, a: [status(r.id, OK)], "EIO", "success without"),
        "half of it": (lambda r, a: [packet(EXTENDED_REPLY, u32(r.id) + u64(1) * 5)], "EIO",
                       "malformed space"),
        "never": (lambda r, a: [], LATE, "no answer"),
    },
}
ASK = {
    "init": lambda path: os.lstat(path + "/f"),
    "limits@openssh.com": lambda path: os.lstat(path + "/f"),
    "lstat": lambda path: os.lstat(path + "/f"),
    "open": lambda path: read(path + "/f"),
    "read": lambda path: read(path + "/f"),
    "opendir": lambda path: os.listdir(path + "/d"),
    "readdir": lambda path: os.listdir(path + "/d"),
    "readlink": lambda path: os.readlink(path + "/l"),
    "write": lambda path: put(path + "/new"),
    "mkdir": lambda path: os.mkdir(path + "/new"),
    "remove": lambda path: os.unlink(path + "/x"),
    "rmdir": lambda path: os.rmdir(path + "/e"),
    "rename": lambda path: os.rename(path + "/x", path + "/y"),
    "setstat": lambda path: os.chmod(path + "/x", 0o600),
    "symlink": lambda path: os.symlink("target", path + "/new"),
    "hardlink@openssh.com": lambda path: os.link(path + "/x", path + "/y"),
    "fsync@openssh.com": lambda path: put(path + "/new", os.fsync),
    "posix-rename@openssh.com": lambda path: os.rename(path + "/x", path + "/y"),
    "statvfs@openssh.com": lambda path: os.statvfs(path + "/d"),
}
ONCE = ("write", "mkdir", "remove", "rmdir", "rename", "setstat", "symlink",
        "hardlink@openssh.com", "posix-rename@openssh.com")


def put(path, then=lambda fd: None):
    """Its error may come at any of the three."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(fd, b"some")
        then(fd)
    finally:
        os.close(fd)


@pytest.fixture
def good(hostile):
    return hostile("good", tree=FILES)


def telling(kind, lie):
    return lambda r, answer: lie(r, answer) if r.kind == kind else None


def honest(r, answer):
    return None


def check(m, host):
    assert read(m.host(host, "f")) == FILES["/f"]
    assert sorted(os.listdir(m.host(host, "d"))) == [f"n{number}" for number in range(10)]


def check_lies(sshd, hostile, good, mount, lies, **timeouts):
    """Each lie is told by a host of its own, all in one mount. lies: [(kind, name)…]"""
    hosts = [hostile(re.sub("[^a-z0-9]+", "-", f"{kind} {name}".lower()), tree=FILES,
                     extensions=(kind,) if "@" in kind else ())
             for kind, name in lies]
    m = mount(sshd.ini(good, *hosts, **timeouts))
    check(m, "good")
    for host, (kind, name) in zip(hosts, lies):
        if kind not in ("init", "limits@openssh.com"):
            assert read(m.host(host.name, "warm")) == b"warm"
            os.lstat(m.host(host.name, "l"))
        host.lie = telling(kind, LIES[kind][name][0])
    asked = Background([lambda kind=kind, host=host: error(ASK[kind], m.host(host.name))
                        for host, (kind, _) in zip(hosts, lies)])
    check(m, "good")
    words = dict(zip(lies, asked.results(20 * SLOWER)))
    check(m, "good")
    for host, (kind, name) in zip(hosts, lies):
        _, errnos, cause = LIES[kind][name]
        assert words[kind, name] in errnos.split("|"), (kind, name, words)
        # a session's end is told right after its calls were answered
        lines = wait_for(lambda: re.findall(rf"warn +{host.name}: .*(?:{cause})", m.log()), 10,
                         f"a line about {kind} {name}")
        assert len(lines) <= 12, (kind, name, len(lines))
        assert [asked for asked, _ in host.requests].count(kind) <= 1 or kind not in ONCE
        host.lie = honest
    for host in hosts:  # their pauses end together
        wait_for(lambda: error(check, m, host.name) == "ok", 10 * SLOWER, f"belief in {host.name}")
    assert m.peak_memory() < 400 * MIB * SLOWER


TOGETHER = [["init", "limits@openssh.com"], ["lstat"], ["open", "read"],
            ["opendir", "readdir", "readlink", "statvfs@openssh.com"],
            ["write", "fsync@openssh.com", "setstat"], ["mkdir", "rmdir", "symlink"],
            ["remove", "rename", "posix-rename@openssh.com", "hardlink@openssh.com"]]


@pytest.mark.parametrize("kinds", TOGETHER, ids=" ".join)
def test_lies(sshd, hostile, good, mount, kinds):
    check_lies(sshd, hostile, good, mount,
               [(kind, name) for kind in kinds for name in LIES[kind]
                if LIES[kind][name][1] != LATE], **PATIENT)


def test_none_is_forgotten():
    assert sorted(LIES) == sorted(kind for kinds in TOGETHER for kind in kinds) == sorted(ASK)


def test_silence(sshd, hostile, good, mount):
    """No answer, and answers that never come to their end."""
    check_lies(sshd, hostile, good, mount,
               [(kind, name) for kind in LIES for name in LIES[kind]
                if LIES[kind][name][1] == LATE], **HURRY)


def test_an_answer_that_others_overtake(sshd, hostile, mount):
    """A session on which one call is never answered ends, however lively the others are; what waited
    is asked again on another."""
    bad = hostile("bad", tree=FILES)
    bad.lie = lambda r, answer: [] if r.kind == "read" and bad.sessions == 1 else None
    m = mount(sshd.ini(bad, **HURRY))
    reader = Background([lambda: read(m.host("bad", "f"))])
    wait_for(lambda: error(os.lstat, m.host("bad", "missing")) == "ENOENT"
             and "session lost: no answer for" in m.log(), 20 * SLOWER, "the session's end")
    assert reader.results() == [FILES["/f"]]


def test_a_server_that_takes_nothing_behind_init(sshd, hostile, mount):
    """What sshd starts as its subsystem need not be its own. It is greeted one step after the other from then on."""
    other = hostile("other", tree=FILES, version="OpenSSH_9.2p1")
    other.hasty = 0
    other.lie = lambda r, answer: [Hostile.HANG_UP] if r.kind == "read" and other.sessions == 2 else None
    m = mount(sshd.ini(other, max_sessions_per_host="1", **PATIENT))
    check(m, "other")
    assert other.hasty == 1 and other.sessions == 3


class TestStrange:
    """Strange, but no lie: it works."""

    @pytest.fixture
    def odd(self, hostile):
        return hostile("odd", tree=FILES)

    @staticmethod
    def mounted(sshd, mount, odd, lie=honest, **more):
        odd.lie = lie
        return mount(sshd.ini(odd, **{**PATIENT, **more}))

    @pytest.mark.parametrize("extensions", [
        string("x@example.com") * 6000,
        string("posix-rename@openssh.com") + string("77") + string("") + string(b"\xff\0\xff"),
    ], ids=["very many", "odd ones"])
    def test_extensions(self, sshd, mount, odd, extensions):
        m = self.mounted(sshd, mount, odd, lambda r, a: [packet(VERSION, u32(3) + extensions)]
                         if r.kind == "init" else None)
        check(m, "odd")

    @pytest.mark.parametrize("told", ["refused", 0, 1, 2**64 - 1])
    def test_limits(self, sshd, mount, odd, told):
        odd.extensions = ("limits@openssh.com",)
        m = self.mounted(sshd, mount, odd, telling("limits@openssh.com", lambda r, a: [
            status(r.id, FAILURE) if told == "refused" else
            packet(EXTENDED_REPLY, u32(r.id) + u64(told) * 4)]))
        check(m, "odd")
        assert odd.sessions == 1

    @pytest.mark.parametrize("most", [1000, 32767])
    def test_short_reads(self, sshd, mount, odd, most):
        """A server may give less than was asked for."""
        def less(r, answer):
            if r.kind != "read" or answer[4] != DATA:
                return None
            return [data(r.id, answer[13:13 + most])]
        m = self.mounted(sshd, mount, odd, less)
        check(m, "odd")

    def test_out_of_order(self, sshd, mount, odd):
        """Answers to what is under way come in any order: here the newest first."""
        held, kinds = [], []

        def backwards(r, answer):
            if r.kind == "init":
                return None
            kinds.append(r.kind)
            held.append(answer)
            if r.kind in ("read", "readdir") and len(held) < 2:
                return []
            answers = held[::-1]
            held.clear()
            return answers
        m = self.mounted(sshd, mount, odd, backwards)
        check(m, "odd")
        assert odd.sessions == 1
        # the look that proves what was read is asked for behind all of it
        assert kinds.index("fstat") > max(i for i, kind in enumerate(kinds) if kind == "read")

    def test_twice(self, sshd, mount, odd):
        """The first answer counts; the second ends the session, for who knows what it is of."""
        def twice(r, answer):
            return [answer, answer] if r.kind == "lstat" else None
        m = self.mounted(sshd, mount, odd, twice)
        assert os.lstat(m.host("odd", "f")).st_size == 100_000
        wait_for(lambda: "unknown request" in m.log(), 10, "the end of the session")
        odd.lie = honest
        check(m, "odd")

    @pytest.mark.parametrize("handle", [b"", b"\0" * 256, bytes(range(256))],
                             ids=["empty", "zeros", "all bytes"])
    def test_handles(self, sshd, mount, odd, handle):
        def named(r, answer):
            return [packet(HANDLE, u32(r.id) + string(handle))] if r.kind == "open" else \
                [data(r.id, FILES["/f"][r.take(">Q"):][:r.take(">I")])] if r.kind == "read" else \
                [packet(ATTRS, u32(r.id) + attrs(100_000, REG))] if r.kind == "fstat" else \
                [status(r.id, OK)] if r.kind == "close" else None
        m = self.mounted(sshd, mount, odd, named)
        assert read(m.host("odd", "f")) == FILES["/f"]

    def test_names(self, sshd, mount, odd):
        """What cannot be a name is not shown, and nothing leads out."""
        listed = ["good", "a/b", "/etc/passwd", "..", ".", "", "x" * 256, "also good", b"\xff\n"]
        answers = []

        def list_names(r, answer):
            if r.kind != "readdir":
                return None
            answers.append(names(r.id, [(name, attrs(1, REG)) for name in listed]))
            return [answers[0]] if len(answers) == 1 else [status(r.id, 1)]
        m = self.mounted(sshd, mount, odd, list_names)
        assert sorted(os.listdir(m.host("odd", "d").encode())) == [b"also good", b"good", b"\xff\n"]
        assert m.metric("scoutfs_hosts_names_skipped_total") == 4  # "." and ".." are no surprise

    def test_a_listing_of_nothing_ends(self, sshd, mount, odd):
        m = self.mounted(sshd, mount, odd,
                         lambda r, a: [names(r.id, [])] if r.kind == "readdir" else None)
        assert os.listdir(m.host("odd", "d")) == []

    @pytest.mark.parametrize("size", [2**63, 2**64 - 1])
    def test_a_size_beyond_all(self, sshd, mount, odd, size):
        """It is not believed; the file is read to its end."""
        m = self.mounted(sshd, mount, odd, lambda r, a: [packet(ATTRS, u32(r.id) + attrs(size, REG))]
                         if r.kind in ("lstat", "fstat") and r.path == "/f" else None)
        assert os.stat(m.host("odd", "f")).st_size == 0
        assert read(m.host("odd", "f")) == FILES["/f"]

    @pytest.mark.parametrize("size", [2**63 - 1, 1 << 40])
    def test_a_size_that_is_not_there(self, sshd, mount, odd, size):
        """An error where the bytes end, which is not where the file does; no memory for the rest."""
        m = self.mounted(sshd, mount, odd, lambda r, a: [packet(ATTRS, u32(r.id) + attrs(size, REG))]
                         if r.kind in ("lstat", "fstat") and r.path == "/f" else None)
        fd = os.open(m.host("odd", "f"), os.O_RDONLY)
        try:
            assert error(read, m.host("odd", "f")) == "EIO"
            assert error(os.pread, fd, 100, 1 << 39) == "EIO"
        finally:
            os.close(fd)
        assert m.peak_memory() < 400 * MIB * SLOWER

    @pytest.mark.parametrize("mode", [0, 0xffffffff, stat.S_IFSOCK | 0o7777])
    def test_modes(self, sshd, mount, odd, mode):
        m = self.mounted(sshd, mount, odd, lambda r, a: [packet(ATTRS, u32(r.id) +
                                                             attrs(100_000, mode))]
                         if r.kind == "lstat" and r.path == "/f" else None)
        got = os.lstat(m.host("odd", "f")).st_mode
        assert stat.S_IFMT(got) in (stat.S_IFREG, stat.S_IFSOCK)
        check(m, "odd") if not mode else None

    def test_no_attributes(self, sshd, mount, odd):
        m = self.mounted(sshd, mount, odd, lambda r, a: [packet(ATTRS, u32(r.id) + u32(0))]
                         if r.kind == "lstat" and r.path == "/f" else None)
        assert stat.S_ISREG(os.lstat(m.host("odd", "f")).st_mode)

    def test_words_beside_the_channel(self, sshd, mount, odd):
        """What the server's shell writes to stderr is no SFTP."""
        def grumble(r, answer):
            return [Hostile.Stderr(b"Last login: never\n" * 100), answer]
        m = self.mounted(sshd, mount, odd, grumble)
        check(m, "odd")
