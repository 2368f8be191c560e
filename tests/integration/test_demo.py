"""The demo, which a newcomer sees first: it comes to its end, and leaves nothing."""

import os
import re
import signal
import subprocess
import sys

import pytest

from mount import BINARY, SLOWER, TOP, mounted
from procs import parents, wait_for

DEMO = os.path.join(TOP, "tests", "demo", "demo.py")


@pytest.fixture
def demo(folder):
    """demo(args…) starts it, with its state in a folder whose name has spaces."""
    state = os.path.join(folder, "with two spaces", "demo")
    env = dict(os.environ, SCOUTFS_DEMO_DIR=state, HOME=os.path.join(folder, "home"))

    def start(*args):
        return subprocess.Popen([sys.executable, DEMO, *args], env=env, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, start_new_session=True)

    start.state = state
    yield start
    subprocess.run([sys.executable, DEMO, "--stop"], env=env, check=True, timeout=60,
                   stdout=subprocess.DEVNULL)


def processes_of(state):
    """Those whose folder is the demo's, or on whose command line it stands."""
    found = []
    for pid in parents():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read()
            where = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if os.fsencode(state) in words or where.startswith(state):
            found.append(words)
    return found


def leaves_nothing(state):
    return not processes_of(state) and not mounted(os.path.join(state, "mnt")) \
        and not os.path.exists(state)


class TestDemo:
    def test_to_its_end(self, demo):
        process = demo(BINARY)
        output, _ = process.communicate(timeout=60 * SLOWER)
        assert process.returncode == 0, output
        for command in ("find mnt", "cat mnt/hosts/web1", "cat mnt/hosts/web2", "cat mnt/hosts/db1",
                        "grep -r", "ls -l mnt/models", "sha256sum", "cat mnt/.scoutfs/status"):
            assert re.search(rf"^\$ {re.escape(command)}", output, re.M), command
        assert "24834009 bytes in" in output
        assert "Connection refused" in output
        assert leaves_nothing(demo.state)

    @pytest.mark.parametrize("at", ["Servers of our own", "Search all machines"])
    def test_interrupted(self, demo, at):
        process = demo(BINARY)
        for line in process.stdout:
            if at in line:
                break
        os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C
        output, _ = process.communicate(timeout=60 * SLOWER)
        assert process.returncode == 130, output
        assert leaves_nothing(demo.state)

    def test_kept_and_stopped(self, demo):
        process = demo(BINARY, "--keep")
        output, _ = process.communicate(timeout=60 * SLOWER)
        assert process.returncode == 0 and "make demo-stop" in output, output
        assert mounted(os.path.join(demo.state, "mnt"))
        with open(os.path.join(demo.state, "mnt", "hosts", "db1", "etc", "motd")) as f:
            assert "db1" in f.read()
        stop = demo("--stop")
        output, _ = stop.communicate(timeout=60 * SLOWER)
        assert stop.returncode == 0, output
        wait_for(lambda: leaves_nothing(demo.state), 10, "nothing left")
