"""The tests' own tools see what they are there to see."""

import contextlib
import errno
import http.client
import os
import shutil
import socket
import subprocess
import threading

import pytest

import mount as mounts
import twin
from fsx import Fsx, Wrong
from mount import Mount
from procs import tool
from proxy import Answer, HttpProxy, Proxy
from tools import timed, write

PLANTED = {
    "address": "#include <stdlib.h>\nint main(void) { return malloc(10) == (void *)1; }\n",
    "undefined": "int main(int c, char **v) { (void)v; return (0x7fffffff + c) == 1; }\n",
    "thread": "#include <pthread.h>\nstatic int n;\n"
              "static void *add(void *p) { for (int i = 0; i < 9999; i++) n++; return p; }\n"
              "int main(void) { pthread_t t; pthread_create(&t, 0, add, 0); add(0);\n"
              "return pthread_join(t, 0); }\n",
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_sanitizers_report_fails_the_test(folder, monkeypatch, kind):
    monkeypatch.setattr(mounts, "SAN", kind)
    source = write(os.path.join(folder, "planted.c"), PLANTED[kind].encode())
    program = os.path.join(folder, "planted")
    subprocess.run(["gcc", f"-fsanitize={kind}", "-g", "-pthread", "-o", program, source],
                   check=True, timeout=60)
    one = Mount(os.path.join(folder, "m"), "")
    one.check_sanitizers()
    prefix = [tool("setarch"), "-R"] if kind == "thread" else []
    for _ in range(5 if kind == "thread" else 1):  # a race is not seen each time
        subprocess.run([*prefix, program], env=one.env, check=False, timeout=60)
    with pytest.raises(AssertionError, match="ERROR|WARNING|runtime error"):
        one.check_sanitizers()


@pytest.fixture
def server():
    """Answers every connection with a megabyte, or speaks a little HTTP when asked to."""
    def serve(peer):
        with peer, contextlib.suppress(OSError):  # who asked may be gone: the proxy sees to it
            asked = peer.recv(65536)
            while asked.startswith(b"GET "):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
                asked = peer.recv(65536)
            peer.sendall(b"y" * 1_000_000)

    def accept():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def fetch(port):
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        s.sendall(b"please")
        got = 0
        while part := s.recv(65536):
            got += len(part)
        return got


def test_the_proxy_delays_counts_and_cuts(server):
    proxy = Proxy(server).start()
    try:
        assert fetch(proxy.port) == 1_000_000
        assert (proxy.total, proxy.bytes_down, proxy.bytes_up) == (1, 1_000_000, 6)
        proxy.rtt = 0.2
        got, seconds = timed(fetch, proxy.port)
        assert got == 1_000_000 and seconds >= 0.2
        proxy.rtt, proxy.bytes_per_s = 0, 2_000_000
        got, seconds = timed(fetch, proxy.port)
        assert got == 1_000_000 and seconds >= 0.45
        proxy.bytes_per_s, proxy.cut_after = 0, 5000
        with pytest.raises(ConnectionResetError):
            fetch(proxy.port)
        proxy.cut_after = None
        proxy.stall()
        threading.Timer(0.2, proxy.cut).start()
        with pytest.raises(ConnectionResetError):
            fetch(proxy.port)
        proxy.resume()
        assert fetch(proxy.port) == 1_000_000
        proxy.refuse = True
        with pytest.raises(OSError):
            fetch(proxy.port)
    finally:
        proxy.stop()


def test_the_http_proxy_counts_and_answers(server):
    proxy = HttpProxy(server, fault=lambda r: Answer(status=503) if r.path == "/busy" else None)
    proxy.start()
    try:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)
        for path, status in (("/a/model.zip", 200), ("/busy", 503), ("/?list-type=2", 200)):
            client.request("GET", path, headers={"Range": "bytes=0-999"})
            answer = client.getresponse()
            assert (answer.status, len(answer.read())) == (status, 1000 if status == 200 else 0)
        assert [r.path for r in proxy.gets()] == ["/a/model.zip", "/busy"]
        assert len(proxy.lists()) == 1 and proxy.gets("model.zip")[0].range == "bytes=0-999"
        assert (proxy.body_bytes(), proxy.most, proxy.total) == (1000, 1, 1)
        proxy.fault = lambda request: Answer(cut_after=300, reset=False)
        client.request("GET", "/a/model.zip")
        with pytest.raises(http.client.IncompleteRead):
            client.getresponse().read()
    finally:
        proxy.stop()


def test_twin_tells_a_difference_in_as_few_operations_as_it_takes(folder, monkeypatch):
    tops = [os.path.join(folder, name) for name in ("tree", "truth")]
    for top in tops:
        os.mkdir(top)
    assert twin.Twin(*tops, 5, server=tops[0]).run(1) > 500, "two plain folders do not differ"
    for top in tops:
        shutil.rmtree(top)
        os.mkdir(top)
    cat = twin.Side.do_cat

    def lie(side, path):
        """Large files end a byte early in the first tree."""
        got = cat(side, path)
        return got[:-1] if os.fsencode(tops[0]) in side.top and len(got) > 1000 else got

    monkeypatch.setattr(twin.Side, "do_cat", lie)
    monkeypatch.setattr(twin, "SHRINK_SECONDS", 10)
    with pytest.raises(twin.Difference, match="seed 5, operation .*\n.*here: .*\n.*truth: ") as e:
        twin.Twin(*tops, 5, actors=1).run(30)
    fewest = str(e.value).split("As few as these ")[1]
    assert int(fewest.split()[0]) <= 4, str(e.value)


def test_fsx_tells_a_wrong_byte(folder):
    assert Fsx(os.path.join(folder, "f"), 1, handles=3).run(0.5) > 100
    path = os.path.join(folder, "g")
    fsx = Fsx(path, 1)

    def spoil():
        with open(path, "r+b") as f:
            f.write(b"wrong")

    fsx.size = spoil
    with pytest.raises(Wrong, match="seed 1, operation"):
        fsx.run(20)


def test_fsx_tells_what_was_synced_and_is_lost(folder):
    def run(name, more):
        """As when the connection goes: the writes since the last fsync are undone, and told."""
        def sever():
            with open(fsx.path, "wb") as f:
                f.write(fsx.model.synced[:-2] + b"??" if more else fsx.model.synced)
            raise OSError(errno.EIO, "lost")

        fsx = Fsx(os.path.join(folder, name), 1, lossy=True, sever=sever)
        fsx.weights["cut"] = 5
        fsx.run(1)
        assert fsx.losses > 3

    run("f", more=False)
    with pytest.raises(Wrong, match="what was synced is lost"):
        run("g", more=True)
