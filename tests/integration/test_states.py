"""Every state that a host, its link or its files can fall into, with somebody at work meanwhile: the
right errno in bounded time, no other host that notices, and right bytes once it is over."""

import os
import pwd
import signal
import subprocess
import sys
import time

import pytest

from mount import SLOWER
from procs import end, family, signal_all, tool, wait_for
from sshd import make_key
from tools import MIB, Background, content, error, read, sha256, timed, together, write

HURRY = {"connect_timeout": f"{SLOWER}s", "request_timeout": f"{SLOWER}s", "keepalive": "0",
         "attr_timeout": "0"}
PATIENT = {"connect_timeout": "60s", "request_timeout": "60s", "keepalive": "0"}
DATA = content(4 * MIB)


class Scene:
    """A host behind a proxy, and what can happen to it."""

    def __init__(self, sshd, proxy, name):
        self.name = name
        self.server = sshd(name)
        self.link = proxy(self.server.port)
        write(os.path.join(self.server.files, "f"), DATA)
        write(os.path.join(self.server.files, "d", "x"), b"x")

    def stop(self):
        self.server.freeze()

    def thaw(self):
        self.server.thaw()

    def stop_session(self):
        self.stopped = family(self.server.process.pid)[1:]
        signal_all(self.stopped, signal.SIGSTOP)

    def thaw_session(self):
        signal_all(self.stopped, signal.SIGCONT)

    def kill(self):
        self.server.kill()

    def restart(self):
        self.server.start()

    def hang_up(self):
        self.link.hang_up()

    def reset(self):
        self.link.cut()

    def refuse(self):
        self.link.refuse = True
        self.link.cut()

    def accept(self):
        self.link.refuse = False

    def swallow(self):
        self.link.stall()

    def pass_on(self):
        self.link.cut()
        self.link.resume()

    def delay(self):
        self.link.rtt = 2.0

    def hasten(self):
        self.link.rtt = 0.0

    def other_key(self):
        self.server.kill()
        self.old_key = self.server.host_key
        path = os.path.join(self.server.folder, "another_key")
        self.server.host_key = path if os.path.exists(path) else make_key(path)
        self.server.start()

    def old_key_again(self):
        self.server.kill()
        self.server.host_key = self.old_key
        self.server.start()

    def nothing(self):
        pass


# what happens: (how, how it ends, what a reader gets meanwhile)
STATES = {
    "stopped": (Scene.stop, Scene.thaw, "ETIMEDOUT"),
    "session-stopped": (Scene.stop_session, Scene.thaw_session, "ok"),
    "killed": (Scene.kill, Scene.restart, "ECONNREFUSED ECONNRESET"),
    "closed": (Scene.hang_up, Scene.nothing, "ok"),
    "reset": (Scene.reset, Scene.nothing, "ok"),
    "refused": (Scene.refuse, Scene.accept, "ECONNRESET"),
    "half-open": (Scene.swallow, Scene.pass_on, "ETIMEDOUT"),
    "delayed": (Scene.delay, Scene.hasten, "ok"),
    "another-key": (Scene.other_key, Scene.old_key_again, "EKEYREJECTED"),
}


@pytest.fixture
def scenes(sshd, proxy):
    made = []

    def make(*names):
        made.extend(Scene(sshd, proxy, name) for name in names)
        return made[-len(names):]

    yield make
    for scene in made:
        if scene.server.process:
            scene.server.thaw()


def ini(sshd, scenes, **settings):
    text = sshd.ini(*[scene.server for scene in scenes],
                    ports={scene.name: scene.link.port for scene in scenes}, **settings)
    for scene in scenes:  # where waiting is the point
        if scene.name == "delayed":
            text = text.replace("[host delayed]\n", "[host delayed]\nrequest_timeout = 20s\n")
    return text


@pytest.mark.seconds(120)
def test_a_reader_in_every_state(sshd, mount, scenes):
    """All of them at once, each on a host of its own, beside one that is well."""
    hosts = scenes(*STATES)
    well, = scenes("well")
    m = mount(ini(sshd, [*hosts, well], **HURRY))

    def check_well():
        assert sha256(read(m.host("well", "f"))) == sha256(DATA)
        assert os.listdir(m.host("well", "d")) == ["x"]

    files = {}
    for scene in hosts:
        files[scene.name] = os.open(m.host(scene.name, "f"), os.O_RDONLY)
        assert os.pread(files[scene.name], 4096, 0) == DATA[:4096]
    check_well()
    for scene in hosts:
        STATES[scene.name][0](scene)

    def step(scene):
        """On the handle that was open, a name, and a listing."""
        def pread():
            assert os.pread(files[scene.name], 4096, 3 * MIB) == DATA[3 * MIB:3 * MIB + 4096]
        return together([lambda: error(pread), lambda: error(os.lstat, m.host(scene.name, "f")),
                         lambda: error(os.listdir, m.host(scene.name, "d"))])

    asked = Background([lambda scene=scene: timed(step, scene) for scene in hosts])
    check_well()
    told = dict(zip(STATES, asked.results(40 * SLOWER)))
    check_well()
    wrong = {name: words for name, (words, _) in told.items()
             if not set(words) <= set(STATES[name][2].split())}
    assert not wrong
    assert "no session became free" not in m.log(), "sessions were not what was lacking"
    assert max(seconds for _, seconds in told.values()) < 20 * SLOWER
    for scene in hosts:
        STATES[scene.name][1](scene)
    for scene in hosts:
        wait_for(lambda: step(scene) == ["ok"] * 3, 40 * SLOWER, f"the return of {scene.name}")
        rest = b"".join(os.pread(files[scene.name], MIB, at) for at in range(0, 4 * MIB, MIB))
        assert sha256(rest) == sha256(DATA)
        os.close(files[scene.name])


@pytest.mark.seconds(120)
def test_a_writer_in_every_state(sshd, mount, scenes):
    """What fsync said is there, is there; what it did not, was an error; and nobody hangs."""
    hosts = scenes(*STATES)
    well, = scenes("well")
    m = mount(ini(sshd, [*hosts, well], **HURRY))
    first, second = content(300_000, 1), content(300_000, 2)
    files = {}
    for scene in hosts:
        files[scene.name] = os.open(m.host(scene.name, "new"), os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(files[scene.name], first)
        os.fsync(files[scene.name])
    for scene in hosts:
        STATES[scene.name][0](scene)

    def write_on(scene):
        """What the write, fsync and close of what follows come to."""
        fd = files.pop(scene.name)
        words = [error(os.write, fd, second), error(os.fsync, fd)]
        return [*words, error(os.close, fd)]

    asked = Background([lambda scene=scene: write_on(scene) for scene in hosts])
    write(m.host("well", "new"), DATA)
    told = dict(zip(STATES, asked.results(40 * SLOWER)))
    assert read(os.path.join(well.server.files, "new")) == DATA
    for scene in hosts:
        STATES[scene.name][1](scene)
        there = read(os.path.join(scene.server.files, "new"))
        assert there[:len(first)] == first, "acknowledged by fsync, and lost"
        if set(told[scene.name]) == {"ok"}:
            assert there[len(first):] == second, "acknowledged by fsync, and lost"
    promised = {"stopped": "ETIMEDOUT EIO", "killed": "ECONNREFUSED ECONNRESET EIO",
                "refused": "ECONNRESET EIO", "half-open": "ETIMEDOUT EIO",
                "another-key": "EKEYREJECTED EIO", "delayed": "ok"}
    for name, words in promised.items():
        assert words == "ok" or told[name] != ["ok"] * 3, (name, told)
    wrong = {name: words for name, words in told.items()
             if not set(words) <= {"ok", *promised.get(name, "EIO").split()}}
    assert not wrong

    def again(scene):
        write(m.host(scene.name, "new"), DATA)
        assert read(os.path.join(scene.server.files, "new")) == DATA

    for scene in hosts:
        wait_for(lambda: error(again, scene) == "ok", 40 * SLOWER, f"the return of {scene.name}")


@pytest.mark.parametrize("by", ["fusermount3", signal.SIGTERM])
@pytest.mark.parametrize("state", STATES)
def test_an_end_in_every_state(sshd, mount, scenes, state, by):
    """Somebody is waiting, or not, as it may be; nothing is left in bounded time."""
    scene, = scenes(state)
    m = mount(ini(sshd, [scene], **PATIENT), settings="memory = 16M")
    os.listdir(m.host(state, "d"))
    STATES[state][0](scene)
    # each its own name: the kernel has all but the first wait who look for the same one
    readers = [subprocess.Popen([*what.split(), m.host(state, name)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
               for what, name in [("cat", "f"), ("ls -l", "d"), ("stat", "a"), ("cat", "b")]]
    try:
        wait_for(lambda: m.metric("scoutfs_requests_in_flight") > 4
                 or all(reader.poll() is not None for reader in readers), 20, "readers")
        if by == "fusermount3":
            # whoever waits keeps the mount busy, which is told at once
            done = subprocess.run([tool("fusermount3"), "-u", m.point], timeout=20, check=False,
                                  capture_output=True)
            for reader in readers:
                reader.terminate()
                reader.wait(5 * SLOWER)
            assert done.returncode or m.ended_within(10)
        m.unmount(by)
        for reader in readers:
            reader.wait(10)
    finally:
        for reader in readers:
            end(reader)
        STATES[state][1](scene)



@pytest.mark.parametrize("by", ["fusermount3", signal.SIGTERM])
def test_an_end_under_a_writer(sshd, mount, scenes, by):
    """It has bytes on their way when the host stops; its file is what keeps the mount busy."""
    scene, = scenes("web1")
    m = mount(ini(sshd, [scene], **PATIENT), settings="memory = 16M")
    writer = subprocess.Popen(["dd", "if=/dev/zero", "bs=1M", "of=" + m.host("web1", "new")],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: os.path.exists(scene.server.files + "/new")
                 and os.path.getsize(scene.server.files + "/new") > MIB, 20, "the writer at work")
        scene.server.freeze()
        wait_for(lambda: is_blocked(m, writer), 20, "a blocked writer")
        if by == "fusermount3":
            done = subprocess.run([tool("fusermount3"), "-u", m.point], timeout=20, check=False,
                                  capture_output=True, text=True)
            assert done.returncode == 1 and "busy" in done.stderr
            writer.send_signal(signal.SIGINT)
            assert writer.wait(5 * SLOWER) != 0
        m.unmount(by)
        assert writer.wait(10) != 0
    finally:
        scene.server.thaw()
        end(writer)


@pytest.mark.skipif(os.geteuid() != 0, reason="the server is to work for somebody without rights")
def test_permission_lost(sshd, mount):
    """What is open stays open, as on a local disk, until the session is lost; then it is refused."""
    web1 = sshd("web1", run=False)
    web1.user = "nobody"
    web1.start()
    uid = pwd.getpwnam("nobody").pw_uid
    os.chown(web1.files, uid, -1)
    f, d = write(web1.files + "/f", DATA), web1.files + "/d"
    write(d + "/x", b"x")
    m = mount(sshd.ini(web1, attr_timeout="0"))
    with open(m.host("web1", "f"), "rb", buffering=0) as reader, \
            open(m.host("web1", "new"), "wb", buffering=0) as writer:
        assert reader.read(4096) == DATA[:4096]
        writer.write(b"first")
        os.fsync(writer.fileno())
        os.chmod(f, 0)  # and it is root's
        os.chmod(web1.files + "/new", 0)
        os.chown(web1.files + "/new", 0, 0)
        os.chmod(d, 0)
        assert os.pread(reader.fileno(), 4096, 2 * MIB) == DATA[2 * MIB:2 * MIB + 4096]
        writer.write(b" second")
        os.fsync(writer.fileno())
        assert error(read, m.host("web1", "f")) == "EACCES"
        assert error(os.open, m.host("web1", "new"), os.O_WRONLY) == "EACCES"
        assert error(os.listdir, m.host("web1", "d")) == "EACCES"
        assert error(os.stat, m.host("web1", "d", "x")) == "EACCES"
        assert error(os.mkdir, m.host("web1", "d", "y")) == "EACCES"
        assert error(os.chmod, m.host("web1", "new"), 0o666) in ("EPERM", "EACCES")
        web1.kill()
        web1.start()
        wait_for(lambda: error(os.pread, reader.fileno(), 4096, 3 * MIB) == "EACCES", 20, "refusal")
        writer.write(b" third")
        assert error(os.fsync, writer.fileno()) == "EACCES"
    assert read(web1.files + "/new") == b"first second"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem takes root")
def test_disk_full_under_a_writer(sshd, mount):
    """The error comes no later than fsync or close, and the bytes before it are there."""
    web1 = sshd("web1")
    small = web1.files + "/small"
    os.mkdir(small)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", small], check=True)
    try:
        m = mount(sshd.ini(web1))

        def fill(path, then):
            fd = os.open(path, os.O_CREAT | os.O_WRONLY)
            words = [error(os.write, fd, DATA[at:at + 65536]) for at in range(0, 4 * MIB, 65536)]
            return {*words, error(then, fd), error(os.close, fd) if then != os.close else "ok"}

        for then in (os.fsync, os.close):
            assert fill(m.host("web1", "small", "f"), then) == {"ok", "ENOSPC"}
            there = read(small + "/f")
            assert MIB < len(there) < 2 * MIB + 1 and there == DATA[:len(there)]
            os.unlink(m.host("web1", "small", "f"))
        write(m.host("web1", "small", "f"), DATA[:MIB])
        assert read(small + "/f") == DATA[:MIB]
        done = subprocess.run(["cp", web1.files + "/../sshd_config", m.host("web1", "small", "g")],
                              check=False, capture_output=True)
        assert done.returncode == 0
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_truncated_and_removed_under_a_writer(sshd, mount):
    """Somebody else's change of a file that is being written to: what is written arrives where it
    belongs, and what has no name any more is no error of others."""
    web1 = sshd("web1")
    m = mount(sshd.ini(web1, attr_timeout="0"))
    with open(m.host("web1", "f"), "wb", buffering=0) as f:
        f.write(DATA[:MIB])
        os.fsync(f.fileno())
        os.truncate(web1.files + "/f", 1000)
        f.write(b"behind it")
        os.fsync(f.fileno())
        there = read(web1.files + "/f")
        assert there == DATA[:1000] + bytes(MIB - 1000) + b"behind it"
        os.unlink(web1.files + "/f")
        assert os.fstat(f.fileno()).st_size == len(there)
        f.write(b"into nowhere")
        assert error(os.fsync, f.fileno()) in ("ok", "ESTALE")
    assert os.listdir(web1.files) == []
    write(m.host("web1", "f"), b"anew")
    assert read(web1.files + "/f") == b"anew"


# Prepares, says so, waits to be told to go, and blocks until it is interrupted.
MODIFY = """
import os, sys
what, path = sys.argv[1:]
fd = os.open(path, os.O_RDWR | os.O_CREAT)
print("ready", flush=True)
sys.stdin.readline()
print("going", flush=True)
def fill():
    while True:
        os.write(fd, bytes(1 << 20))
def write_and(then):
    os.write(fd, b"some")
    then(fd)
try:
    {"mkdir": lambda: os.mkdir(path + "d"), "create": lambda: os.open(path + "n", os.O_CREAT),
     "unlink": lambda: os.unlink(path), "rename": lambda: os.rename(path, path + "r"),
     "symlink": lambda: os.symlink("x", path + "s"), "link": lambda: os.link(path, path + "l"),
     "chmod": lambda: os.chmod(path, 0o600), "truncate": lambda: os.truncate(path, 1),
     "ftruncate": lambda: os.ftruncate(fd, 1), "utime": lambda: os.utime(path),
     "write": fill, "fsync": lambda: write_and(os.fsync), "close": lambda: write_and(os.close)}[what]()
    print("done", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def is_blocked(m, process):
    """Whether process waits for one call on m. Between two calls Ctrl-C would end it, and then its end waits
    instead: that flushes what it has open, and cannot be interrupted."""
    def switches():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            return [line for line in status if "ctxt_switches" in line]
    before = switches()
    # the request that asks for the metrics is one itself
    in_flight = m.metric("scoutfs_requests_in_flight") >= 2
    time.sleep(0.1)
    return in_flight and switches() == before


def interrupted(m, scene, argv, last_words):
    """Starts argv, which waits for its host to stop if it has words to tell; interrupts it when it is
    blocked."""
    if not last_words:
        scene.server.freeze()
    caller = subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    try:
        if last_words:
            assert caller.stdout.readline() == "ready\n"
            scene.server.freeze()
            caller.stdin.write("\n")
            caller.stdin.flush()
            assert caller.stdout.readline() == "going\n"
        wait_for(lambda: is_blocked(m, caller), 20, "a blocked call")
        caller.send_signal(signal.SIGINT)
        return caller.wait(5 * SLOWER), caller.stdout.read()
    finally:
        scene.server.thaw()
        end(caller)


@pytest.mark.parametrize("what", ["mkdir", "create", "unlink", "rename", "symlink", "link", "chmod",
                                  "truncate", "ftruncate", "utime", "write", "fsync", "close"])
def test_ctrl_c_on_what_modifies(sshd, mount, scenes, what):
    scene, = scenes("web1")
    m = mount(ini(sshd, [scene], **PATIENT), settings="memory = 16M")
    argv = [sys.executable, "-c", MODIFY, what, m.host("web1", "new")]
    assert interrupted(m, scene, argv, True) == (0, "interrupted\n")
    assert error(write, m.host("web1", "next"), b"next") == "ok"
    assert read(os.path.join(scene.server.files, "next")) == b"next"


@pytest.mark.parametrize("argv", [["ls", "-l", "d"], ["cat", "f"], ["cp", "f", "copy"],
                                  ["mkdir", "-p", "d/e/g"], ["rm", "-r", "d"], ["stat", "-f", "d"],
                                  ["dd", "if=/dev/zero", "of=zeros", "bs=1M"],
                                  ["mv", "f", "d/f"], ["touch", "new"]],
                         ids=lambda argv: argv[0])
def test_ctrl_c_on_every_command(sshd, mount, scenes, argv):
    scene, = scenes("web1")
    m = mount(ini(sshd, [scene], **PATIENT), settings="memory = 16M")
    os.listdir(m.host("web1"))
    words = [argv[0]] + [word.replace("of=", "of=" + m.host("web1/")) if "=" in word
                         else word if word[0] == "-" else m.host("web1", word)
                         for word in argv[1:]]
    ended, _ = interrupted(m, scene, words, False)
    assert ended in (-signal.SIGINT, 1), "1: it heard EINTR first"
    assert error(write, m.host("web1", "next"), b"next") == "ok"
