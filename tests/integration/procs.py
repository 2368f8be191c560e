"""Processes and ports: started, waited for and ended by what we know of them, never by name."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time


def wait_for(condition, timeout, what):
    """The first true value of condition(); TimeoutError after timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def free_port():
    """A loopback port that nobody listens on, below those the kernel gives to clients."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def tool(name):
    """A program's path, also where sbin is not in PATH."""
    for folder in os.environ.get("PATH", "").split(":") + ["/usr/sbin", "/sbin", "/usr/bin"]:
        path = os.path.join(folder, name)
        if folder and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(name)


CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18  # sched.h, sys/mount.h


def hide_mounts():
    """Our mounts are seen by us and what we start alone, where we may: a mount namespace that somebody
    else on this machine makes would hold a copy of each, and a daemon lives until the last copy goes."""
    libc = ctypes.CDLL(None)
    if libc.unshare(CLONE_NEWNS) == 0:
        libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)  # without a mount at /, see below


# In a chroot into a plain folder there is no mount at /, which unshare and fusermount3 both need:
# the same tree is entered again, by a mount of it.
ENTER_AS_MOUNT = """
set -e
mount --rbind / /mnt
mount --make-rprivate /mnt
exec chroot /mnt env -C "$PWD" "$@"
"""


def own_mounts():
    """The words that give a command mounts of its own."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        lines = [line.split(" ") for line in f]
    if any(line[4] == "/" for line in lines):
        return [tool("unshare"), "-m"]
    if any("shared:" in " ".join(line[6:line.index("-")]) for line in lines):
        raise RuntimeError("a chroot in a tree whose mounts are shared: bind it onto itself first")
    return [tool("unshare"), "-m", "--propagation", "unchanged", "sh", "-c", ENTER_AS_MOUNT, "sh"]


# In a mount namespace of its own, so that a /dev/fuse which is root's alone can be opened by others
# in there, and nowhere else.
OPEN_FUSE = """
set -e
if [ "$(stat -c %a /dev/fuse)" != 666 ]; then
	mount -t tmpfs -o mode=755,dev none "$1"
	mknod -m 666 "$1/fuse" c 10 229
	mount --bind "$1/fuse" /dev/fuse
fi
shift
exec "$@"
"""


def run(*command, timeout=60, check=True, **more):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout, check=check, **more)


def parents():
    """{pid: parent} of every process that is not a zombie."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                    state, parent = f.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                found[int(name)] = int(parent)
    return found


def family(pid):
    """pid and all that descend from it, ancestors first."""
    above = parents()
    found = [pid]
    for one in found:
        found.extend(child for child, parent in above.items() if parent == one)
    return found


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def end(process, grace=5):
    """Ends a Popen and all its descendants, waits for it."""
    if process is None:
        return
    pids = family(process.pid) if process.poll() is None else []
    signal_all(pids, signal.SIGTERM)
    signal_all(pids, signal.SIGCONT)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    signal_all([pid for pid in pids[1:] if pid in parents()], signal.SIGKILL)
    if process.poll() is None:
        process.kill()
    process.wait()
