"""/.scoutfs: the mount explains itself, for a person and for Prometheus, without a network."""

import os
import re
import stat
import time

import pytest

from mount import SLOWER
from procs import free_port
from tools import content, error, read, timed, write


@pytest.fixture
def web1(sshd):
    web1 = sshd("web1")
    write(os.path.join(web1.files, "f"), content(100_000))
    return web1


@pytest.mark.basic
def test_status_tells_a_person(sshd, web1, mount):
    gone = f"[host gone]\nhostname = 127.0.0.1\nport = {free_port()}\n"
    m = mount(sshd.ini(web1, connect_timeout="2s"), gone)
    before = m.status()
    assert re.search(r"^scoutfs \d+\.\d+.*, up ", before)
    assert re.search(r"\bweb1\b.*\bidle\b", before)
    assert web1.connections() == 0, "reading it connects nowhere"

    assert read(m.host("web1", "f")) == content(100_000)
    assert error(os.listdir, m.host("gone")) == "ECONNREFUSED"
    after = m.status()
    assert re.search(r"\bweb1\b.*\bup\b", after)
    assert re.search(r"\bgone\b.*\bdown\b", after)
    assert re.search(r"refused", after), "the last error, in words"
    assert re.search(r"(next|again|retry)", after), "when it is tried next"
    assert re.search(r"^memory: \d+M of 256M in buffers", after, re.M), "the bound"


def test_status_tells_since_when_a_host_is_down(mount):
    m = mount(f"[host gone]\nhostname = 127.0.0.1\nport = {free_port()}\n")
    assert error(os.listdir, m.host("gone")) == "ECONNREFUSED"
    time.sleep(1.1)
    os.utime(m.path(".scoutfs", "hosts", "gone"))
    assert error(os.listdir, m.host("gone")) == "ECONNREFUSED"
    tried, unit, down = re.search(r"refused.*, (\d+) (m?s) ago; down for (\d+) s; ", m.status()).groups()
    assert int(down) > (int(tried) if unit == "s" else 0)


@pytest.mark.basic
def test_metrics_are_prometheus_text(sshd, web1, rgw, bucket, mount):
    rgw.put(bucket, "a/v1/model.zip", content(500_000))
    m = mount(sshd.ini(web1), rgw.ini(bucket))
    read(m.host("web1", "f"))
    read(m.model("a", "v1", "model.zip"))
    error(os.stat, m.host("web1", "missing"))
    text = read(m.path(".scoutfs", "metrics")).decode()

    sample = re.compile(r'[a-z0-9_]+(\{[a-z_]+="(\\.|[^"\\\n])*"(,[a-z_]+="(\\.|[^"\\\n])*")*\})? '
                        r"[-+0-9.eEInf]+")
    kinds, seen = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, "declared twice"
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            assert sample.fullmatch(line), line
            series = line.rpartition(" ")[0]
            assert series not in seen, "told twice"
            seen.add(series)
            name = series.partition("{")[0]
            assert name in kinds or re.sub(r"_(bucket|sum|count)$", "", name) in kinds, line
    assert text.endswith("\n")

    assert m.metric("scoutfs_requests_total", backend="hosts", op="lookup", result="ENOENT") >= 1
    assert m.metric("scoutfs_requests_total", backend="hosts", op="read", result="ok") >= 1
    assert m.metric("scoutfs_requests_total", backend="models", op="read", result="ok") >= 1
    assert m.metric("scoutfs_s3_bytes_total") >= 500_000
    assert m.metric("scoutfs_s3_requests_total") >= 1


def test_histograms_add_up(sshd, web1, mount):
    m = mount(sshd.ini(web1))
    read(m.host("web1", "f"))
    of_reads = [(labels["le"], number) for name, labels, number in m.metrics()
                if name == "scoutfs_request_seconds_bucket" and labels["backend"] == "hosts"
                and labels["op"] == "read"]
    counts = [number for _, number in of_reads]
    assert counts == sorted(counts) and of_reads[-1][0] == "+Inf"
    assert counts[-1] == m.metric("scoutfs_request_seconds_count", backend="hosts", op="read") > 0


def test_a_file_for_each_host(sshd, web1, mount):
    web2 = sshd("web2")
    m = mount(sshd.ini(web1, web2))
    assert sorted(os.listdir(m.path(".scoutfs"))) == ["hosts", "metrics", "status"]
    assert os.listdir(m.path(".scoutfs", "hosts")) == ["web1", "web2"]
    assert "web1" in read(m.path(".scoutfs", "hosts", "web1")).decode()
    assert error(read, m.path(".scoutfs", "hosts", "nobody")) == "ENOENT"
    assert error(read, m.path(".scoutfs", "nothing")) == "ENOENT"
    assert error(read, m.path(".scoutfs", "refresh")) == "ENOENT", "without a registry"
    assert (web1.connections(), web2.connections()) == (0, 0)
    assert stat.S_IMODE(os.stat(m.path(".scoutfs", "status")).st_mode) == 0o444


def test_told_while_nothing_answers(sshd, web1, mount, rgw, proxy):
    hole = proxy(1)
    hole.black_hole = True
    m = mount(sshd.ini(web1, ports={"web1": hole.port}), rgw.ini("any", hole.port))
    for name in ("status", "metrics", "hosts/web1"):
        _, seconds = timed(read, m.path(".scoutfs", name))
        assert seconds < 5 * SLOWER
    assert hole.total == 0


def test_counts_connects(sshd, web1, mount):
    gone = f"[host gone]\nhostname = 127.0.0.1\nport = {free_port()}\n"
    m = mount(sshd.ini(web1), gone)
    assert m.metric("scoutfs_hosts_connects_total") == 0
    read(m.host("web1", "f"))
    assert m.metric("scoutfs_hosts_connects_total") == 1
    assert m.metric("scoutfs_hosts_connect_seconds_count") == 1
    assert m.metric("scoutfs_hosts_sessions", host="web1", state="up") == 1
    assert m.metric("scoutfs_hosts_pool_sessions") == 1
    error(os.listdir, m.host("gone"))
    assert m.metric("scoutfs_hosts_connects_total", result="ECONNREFUSED") == 1
    assert m.metric("scoutfs_hosts_connect_seconds_count") == 1, "of those that succeeded"
    assert m.metric("scoutfs_hosts_pool_hits_total") >= 1
    assert m.metric("scoutfs_hosts_pool_misses_total") >= 1
    assert m.metric("scoutfs_hosts_bytes_read_total") >= 100_000
