"""Fixtures: servers, proxies and mounts of a test's own, all ended with it."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import pytest  # noqa: E402

from hostile import Hostile  # noqa: E402
from mount import Mount, SLOWER  # noqa: E402
from procs import hide_mounts  # noqa: E402
from proxy import HttpProxy, Proxy  # noqa: E402
from rgw import Rgw  # noqa: E402
from s3_server import S3  # noqa: E402
from sshd import Sshd, make_key  # noqa: E402
from swift_server import Swift  # noqa: E402


def pytest_configure():
    """Ended from outside, the servers end too: as for Ctrl-C, which whoever starts a program in the
    background of a script has it ignore, and all that it starts."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    hide_mounts()


@pytest.fixture(scope="session")
def workdir():
    folder = tempfile.mkdtemp(prefix="scoutfs-test-")
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def client_key(workdir):
    return make_key(os.path.join(workdir, "id_ed25519"))


@pytest.fixture(scope="session")
def rgw(workdir):
    folder = os.path.join(workdir, "rgw")
    os.mkdir(folder)
    server = Rgw(folder)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def roomy(folder):
    """A gateway of the test's own, which ends with what was put there."""
    path = os.path.join(folder, "rgw")
    os.mkdir(path)
    server = Rgw(path, 3 << 30)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def swift(workdir):
    folder = os.path.join(workdir, "swift")
    os.mkdir(folder)
    server = Swift(folder)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def s3():
    """One that can lie."""
    server = S3().start()
    yield server
    server.stop()


@pytest.fixture
def folder(workdir, request):
    """An empty folder of the test's own."""
    path = tempfile.mkdtemp(prefix="t-", dir=workdir)
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def small_disk(folder):
    """A filesystem of 2 MiB."""
    if os.geteuid() != 0:
        pytest.fail("needs root, to mount a small filesystem")
    path = os.path.join(folder, "small")
    os.makedirs(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def watchdog(request):
    """Kills the daemon when a test takes too long, so that no access to the mount hangs."""
    marker = request.node.get_closest_marker("seconds")
    watched = []
    timer = threading.Timer((marker.args[0] if marker else 60) * SLOWER,
                            lambda: [one.abort() for one in watched])
    timer.daemon = True
    timer.start()
    yield watched
    timer.cancel()


@pytest.fixture
def mount(folder, watchdog, request):
    """mount(ini…) mounts, and the end of the test unmounts and checks what is left."""
    mounts = request.node.mounts = []

    def start(*ini, options=(), env=None, settings="", run=True):
        path = tempfile.mkdtemp(prefix="m-", dir=folder)
        ini = (f"[scoutfs]\nlog_level = debug\n{settings}\n", *ini)
        one = Mount(path, "\n".join(ini), options, env)
        mounts.append(one)
        watchdog.append(one)
        return one.start() if run else one

    yield start
    try:
        for one in mounts:
            one.unmount()
    finally:
        for one in mounts:
            one.logged = one.log() if os.path.exists(one.log_path) else ""
            one.clean_up()


@pytest.fixture
def sshd(folder, client_key, request):
    """sshd(name) starts a host; sshd.ini(hosts…) is a [hosts] section that knows their keys."""
    servers = []

    def start(name="web1", run=True, **options):
        server = Sshd(os.path.join(folder, name), name, client_key, **options)
        servers.append(server)
        return server.start() if run else server

    def ini(*hosts, ports=None, each=None, **more):
        """ports: {name: port} where a proxy stands before a host; each: keys for every host."""
        ports = ports or {}
        known_hosts = os.path.join(folder, "known_hosts")
        with open(known_hosts, "w", encoding="utf-8") as f:
            for host in hosts:
                f.write(host.known_hosts_line())
                if host.name in ports:
                    f.write(host.known_hosts_line(ports[host.name]))
        more = {"ssh_config": "", "known_hosts": known_hosts, **more}
        lines = ["[hosts]"] + [f"{key} = {value}" for key, value in more.items()]
        return "\n".join(lines) + "\n" + "".join(
            host.ini(ports.get(host.name), **(each or {})) for host in hosts)

    start.ini = ini
    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def hostile(folder, client_key):
    """hostile(name, files…) starts a host whose SFTP may lie; sshd.ini() takes it, too."""
    started = []

    def start(name="bad", **more):
        started.append(Hostile(os.path.join(folder, name), name, client_key, **more).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


def _proxies(kind):
    started = []

    def start(*args, **more):
        started.append(kind(*args, **more).start())
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def proxy():
    yield from _proxies(Proxy)


@pytest.fixture
def http_proxy():
    yield from _proxies(HttpProxy)


@pytest.fixture
def bucket(rgw, request):
    """An empty bucket of the test's own."""
    digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    name = rgw.make_bucket("test-" + digest)
    yield name
    rgw.empty(name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for one in getattr(item, "mounts", []):
            text = getattr(one, "logged", None)
            if text is None and os.path.exists(one.log_path):
                text = one.log()
            report.sections.append(("log of scoutfs (its end)", (text or "")[-5000:]))
