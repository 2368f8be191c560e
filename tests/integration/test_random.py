"""Random operations from a seed: on the mount and on a local folder, compared after each (twin.py);
and one file's contents against a model (fsx.py).

SCOUTFS_SEED does one again; SCOUTFS_RANDOM_SECONDS (60) is what all of them together take. By hand, an
hour with the seeds shown:

	SCOUTFS_RANDOM_SECONDS=3600 /usr/bin/python3 -m pytest -s -c tests/integration/pytest.ini \
		tests/integration/test_random.py
"""

import os
import random
import signal
import subprocess
import sys

import pytest

import twin
from fsx import Fsx
from mount import SLOWER
from procs import family, signal_all, wait_for

SECONDS = float(os.environ.get("SCOUTFS_RANDOM_SECONDS", "60"))
pytestmark = [pytest.mark.seconds(2 * SECONDS + 120), pytest.mark.timeout(2 * SECONDS + 240)]


@pytest.fixture
def seed():
    number = int(os.environ.get("SCOUTFS_SEED") or random.SystemRandom().randrange(10 ** 6))
    print(f"SCOUTFS_SEED={number}")
    return number


def share(part):
    """So much of a minute, when all of them have a minute."""
    return part * SECONDS / 60


@pytest.fixture
def tops(sshd, mount, folder):
    """(the tree on the mount, a local one, where the server has it, the server, the mount); each so
    deep that links which lead upwards stay inside."""
    def start(settings="", **each):
        web1 = sshd("web1")
        m = mount(sshd.ini(web1, **each), settings=settings)
        inside = os.path.join("1", "2", "3", "4", "5")
        truth = os.path.join(folder, "truth", inside)
        server = os.path.join(web1.files, inside)
        os.makedirs(truth)
        os.makedirs(server)
        return m.host("web1", inside), truth, server, web1, m

    return start


@pytest.mark.parametrize("each,seconds", [
    ({}, 12), ({"attr_timeout": "0"}, 8), ({"max_sessions_per_host": "1"}, 6)],
    ids=["default", "attr_timeout 0", "one session"])
def test_operations(tops, seed, each, seconds):
    tree, truth, server, *_ = tops(**each)
    done = twin.Twin(tree, truth, seed, server=server).run(share(seconds))
    print(f"{done} operations")
    assert done > 100 or SECONDS < 60


def test_four_processes_at_once(tops, seed):
    tree, truth, server, *_ = tops()
    programs = []
    for n in range(4):
        pair = [os.path.join(top, f"p{n}") for top in (tree, truth)]
        for top in pair:
            os.mkdir(top)
        programs.append(subprocess.Popen(
            [sys.executable, twin.__file__, *pair, str(seed + n), str(share(10))],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    results = [p.communicate(timeout=share(10) + 100 * SLOWER) for p in programs]
    assert [p.returncode for p in programs] == [0] * 4, "\n".join(r[1] for r in results)
    twin.compare_trees(server, truth)


@pytest.mark.parametrize("handles", [1, 2])
def test_contents(tops, seed, handles):
    tree, _, server, *_ = tops()
    fsx = Fsx(os.path.join(tree, "f"), seed, handles)
    fsx.run(share(6))
    with open(os.path.join(server, "f"), "rb") as f:
        assert f.read() == fsx.model.now


def kill_sessions(web1, m):
    """And waits until scoutfs has seen it."""
    lost = m.metric("scoutfs_hosts_sessions_lost_total")
    victims = family(web1.process.pid)[1:]
    signal_all(victims, signal.SIGKILL)
    if victims:
        wait_for(lambda: m.metric("scoutfs_hosts_sessions_lost_total") > lost, 10, "the loss")


def test_contents_over_lost_sessions(tops, seed):
    """With everything synced before, nothing of it shows."""
    tree, _, server, web1, m = tops()
    fsx = Fsx(os.path.join(tree, "f"), seed, handles=2, sever=lambda: kill_sessions(web1, m))
    fsx.run(share(6))
    assert fsx.cuts > 0
    with open(os.path.join(server, "f"), "rb") as f:
        assert f.read() == fsx.model.now


def test_contents_over_sessions_lost_in_mid_write(tops, seed):
    """What was synced stays; of what was not, somebody is told when it is lost."""
    tree, _, server, web1, _ = tops()
    fsx = Fsx(os.path.join(tree, "f"), seed, lossy=True, mapped=False,
              sever=lambda: signal_all(family(web1.process.pid)[1:], signal.SIGKILL))
    fsx.run(share(6))
    with open(os.path.join(server, "f"), "rb") as f:
        assert f.read() == fsx.model.now
