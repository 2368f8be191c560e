"""The pool's bench program: that it measures what it says; how much is the bench's business."""

import json
import os
import subprocess

import pytest

from mount import BINARY, SAN, command, clean_env
from procs import end
from tools import write

PROGRAM = os.path.join(os.path.dirname(BINARY), "scoutfs-bench-pool")


def start(*args):
    prefix = command()[:-1] if "thread" in SAN else []
    return [*prefix, PROGRAM, *map(str, args)]


@pytest.fixture
def echo():
    """The port of one that sends back what comes."""
    one = subprocess.Popen(start("echo"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    yield int(one.stdout.readline())
    end(one)
    one.stdout.close()


def measure(folder, *args):
    """{name: series}, figures"""
    done = subprocess.run(start(*args), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=100, check=False, env=clean_env(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    for one in found["series"]:
        assert one["min"] <= one["median"] <= one["p95"] <= one["p99"] <= one["max"]
        assert len(one["samples"]) == min(one["count"], 1000)
    return {one["name"]: one for one in found["series"]}, found["figures"]


def test_the_backend_alone_and_a_mount(sshd, mount, folder):
    web1, web2 = sshd("web1"), sshd("web2")
    for i in range(4):
        write(os.path.join(web1.files, f"f{i}"), b"x" * 5000)
    write(os.path.join(web2.files, "f0"), b"x")
    ini = os.path.join(folder, "bench.ini")
    write(ini, sshd.ini(web1, web2).encode())
    series, figures = measure(folder, "burst", "-r", 2, "-n", 20, "-f", "f#", "-F", 4, ini, "web1")
    assert series["each"]["count"] == 40 and series["all"]["count"] == 2
    assert figures["connects a round"] >= 1 and figures["failed connects"] == 0
    assert web1.logins() >= 2 and web2.logins() == 0
    series, _ = measure(folder, "hosts", "-r", 1, "-f", "f0", ini)
    assert series["each"]["count"] == 2 and web2.logins() >= 1
    series, figures = measure(folder, "transfer", "-k", "write", "-b", "f0", "-r", 2, ini, "web1")
    assert series["seconds"]["count"] == 2 and figures["bytes"] == 5000
    assert sorted(os.listdir(web1.files)) == ["f0", "f1", "f2", "f3"]
    series, _ = measure(folder, "route", "-n", 3, ini)
    assert set(series) == {"short path", "305 bytes", "no such host", "longer than PATH_MAX"}
    m = mount(sshd.ini(web1))
    series, _ = measure(folder, "latency", "-n", 5, "-f", "f#", "-F", 4, m.path("hosts"), "web1")
    assert [series[kind]["count"] for kind in ("stat", "cat", "ls")] == [5, 5, 5]


def test_the_network_s_own_time(echo, proxy, folder):
    link = proxy(echo)
    link.rtt = 0.02
    series, _ = measure(folder, "ping", "-n", 3, "-p", link.port)
    assert series["ping"]["count"] == 3 and series["ping"]["min"] >= 20e6
