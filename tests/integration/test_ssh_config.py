"""What ssh_config says of the way to a host: names, ports, proxies, times, algorithms, addresses."""

import os
import re
import time

import pytest

from mount import BINARY
from procs import run, wait_for
from sshconf import SshConfig, script
from tools import content, error, read, write


# What nc does: standard input and output of a connection.
PIPE = b"""
import os, socket, sys, threading
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def conf(folder, mount, sshd):
    return SshConfig(folder, mount, sshd)


@pytest.fixture
def web(sshd, conf):
    server = sshd("web")
    write(os.path.join(server.files, "f"), b"here")
    conf.knows(server.known_hosts_line())
    return server


def test_include_match_and_tokens(conf, web, folder):
    """The parts of a host's settings lie in an Include, in Match blocks and in tokens."""
    keys = os.path.join(folder, f"{web.user}-web.key")
    for suffix in ("", ".pub"):
        write(keys + suffix, read(web.client_key + suffix))
    os.chmod(keys, 0o600)
    write(os.path.join(folder, "conf.d", "a.conf"), b"Host web\n  HostName 127.0.0.1\n")
    m = conf.mount(f"Include {folder}/conf.d/*.conf\n"
                   f"Match user {web.user}\n  IdentityFile {folder}/%r-%n.key\n"
                   "Match user somebody\n  Port 1\n"
                   "Match host 10.*\n  Port 2\n"
                   f"Match host 127.0.0.1\n  Port {web.port}\n"
                   "Match all\n  Port 3\n"
                   f"Host web\n  User {web.user}\n")
    assert conf.files(m, web) == ["f"]


def test_the_ini_wins(conf, web):
    m = conf.mount("Host web\n  HostName 192.0.2.1\n  Port 1\n  User nobody\n  ProxyCommand false\n",
                   sections=f"[host web]\nhostname = 127.0.0.1\nport = {web.port}\n"
                            f"user = {web.user}\nidentity_file = {web.client_key}\n"
                            "proxy_jump = none\n")
    assert conf.files(m, web) == ["f"]


def children(m):
    """The daemon's, also those that ended and were not reaped."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as f:
                parent = f.read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if int(parent) == m.process.pid:
            found.append(int(name))
    return found


def test_proxy_command(conf, web, folder):
    """It carries the connection, gets its tokens, dumps no core, and goes with the session."""
    told = os.path.join(folder, "told")
    program = script(os.path.join(folder, "through"),
                     f'echo "$@" >{told}\nexec python3 {folder}/pipe.py "$2" "$3"\n')
    write(os.path.join(folder, "pipe.py"), PIPE)
    write(os.path.join(web.files, "f"), content(3_000_000))
    m = conf.mount(conf.host(web, f"ProxyCommand {program} %n %h %p %r"), idle_timeout="1s")
    assert read(m.host("web") + web.files + "/f") == content(3_000_000)
    assert read(told).decode().split() == ["web", "127.0.0.1", str(web.port), web.user]
    with open(m.host("web") + web.files + "/f", "rb"):  # its session is not idle
        proxies = children(m)
        assert proxies
        for pid in (m.process.pid, *proxies):
            with open(f"/proc/{pid}/limits", encoding="utf-8") as f:
                assert re.search(r"Max core file size +0 +0 ", f.read())
    wait_for(lambda: not children(m), 15, "the end of the proxy with its session")


@pytest.mark.parametrize("said", ["", "glibc.malloc.perturb=0"])
def test_what_glibc_is_told(conf, web, folder, said):
    """Of the copying that is slow on AMD's processors; what is run for it hears of its user's words alone."""
    told = os.path.join(folder, "told")
    program = script(os.path.join(folder, "through"), f"env >{told}\nexec python3 {folder}/pipe.py $*\n")
    write(os.path.join(folder, "pipe.py"), PIPE)
    m = conf.mount(conf.host(web, f"ProxyCommand {program} %h %p"), env={"GLIBC_TUNABLES": said} if said else {})
    assert conf.files(m, web) == ["f"]
    names = dict(line.partition("=")[::2] for line in read(told).decode().split("\n"))
    assert names.get("GLIBC_TUNABLES", "") == said
    assert not [name for name in names if name.startswith("SCOUTFS_GLIBC")]
    assert read(f"/proc/{m.process.pid}/comm") == b"scoutfs\n"
    ours = read(f"/proc/{m.process.pid}/environ")
    slow = b"AuthenticAMD" in read("/proc/cpuinfo")
    assert slow == (b"x86_rep_movsb_threshold" in ours) and said.encode() in ours


def test_proxy_command_that_fails(conf, web):
    m = conf.mount(conf.host(web, "ProxyCommand echo no way through >&2; exit 1"))
    assert error(os.listdir, m.host("web")) != "ok"
    assert "no way through" in m.status()
    wait_for(lambda: not children(m), 10, "the end of the proxy")


def test_proxy_jump_chain(conf, web, sshd):
    """Through two hosts that ssh_config knows by alias, each with settings of its own."""
    outer, middle = sshd("outer"), sshd("middle")
    conf.knows(*(one.known_hosts_line() for one in (web, outer, middle)))
    m = conf.mount(conf.host(outer) + conf.host(middle) + conf.host(web, "ProxyJump outer,middle"))
    assert conf.files(m, web) == ["f"]
    assert (outer.logins(), middle.logins(), web.logins()) == (1, 1, 1)


def test_connect_timeout(conf, web, proxy):
    """ssh_config's word counts where the ini says nothing, and not where it does."""
    silent = proxy(web.port)
    silent.black_hole = True
    text = conf.host(web, "ConnectTimeout 1").replace(str(web.port), str(silent.port))
    m = conf.mount(text)
    started = time.monotonic()
    assert error(os.listdir, m.host("web")) == "ETIMEDOUT"
    assert time.monotonic() - started < 8, "the ini's default is 10 s"
    other = conf.mount(text, connect_timeout="200ms")
    assert error(os.listdir, other.host("web")) == "ETIMEDOUT"
    assert "200 ms" in other.status() or "200ms" in other.status()


def test_server_alive(conf, web):
    """A session that is asked every second and does not answer ends after ServerAliveCountMax."""
    m = conf.mount(conf.host(web, "ServerAliveInterval 1", "ServerAliveCountMax 2"))
    # answered when it is done: nothing is under way, as the close of a listing could be
    assert os.lstat(m.host("web") + web.files + "/f").st_size == 4
    web.freeze()
    try:
        # the ini's own would be 15 s of silence and 30 s of patience
        wait_for(lambda: "no answer for 2" in m.log(), 12, "the end of the session")
    finally:
        web.thaw()


@pytest.mark.parametrize("option, value", [
    ("Ciphers", "aes192-ctr"), ("Ciphers", "aes256-gcm@openssh.com,aes128-gcm@openssh.com"),
    ("MACs", "umac-64@openssh.com,hmac-sha2-512"),
    ("KexAlgorithms", "sntrup761x25519-sha512@openssh.com,ecdh-sha2-nistp384")])
def test_algorithms(conf, sshd, option, value):
    """In ssh_config's order; what libssh does not know is passed over."""
    server = sshd("web", options="LogLevel DEBUG3\n")
    conf.knows(server.known_hosts_line())
    chosen = value.split(",")[0 if option == "Ciphers" else -1]
    extra = ["Ciphers aes128-ctr"] if option == "MACs" else []
    m = conf.mount(conf.host(server, f"{option} {value}", *extra))
    assert conf.files(m, server) == []
    kind = {"Ciphers": "cipher: ", "MACs": "MAC: ", "KexAlgorithms": "kex: algorithm: "}[option]
    assert re.search(re.escape(kind + chosen), server.read_log())


def test_no_algorithm_left(conf, web):
    m = conf.mount(conf.host(web, "KexAlgorithms sntrup761x25519-sha512@openssh.com"))
    assert error(os.listdir, m.host("web")) == "EIO"
    assert "KexAlgorithms" in m.status() and "sntrup761" in m.status()
    assert web.connections() <= 1


def test_compression_and_rekey(conf, sshd):
    """Many key exchanges within one file, compressed, and every byte is right."""
    server = sshd("web", options="LogLevel DEBUG1\n")
    conf.knows(server.known_hosts_line())
    data = content(22 << 20) + bytes(1 << 20) + content(1 << 20, 1)
    write(os.path.join(server.files, "f"), data)
    m = conf.mount(conf.host(server, "Compression yes", "RekeyLimit 1M"))
    assert read(m.host("web") + server.files + "/f") == data
    log = server.read_log()
    assert "zlib@openssh.com" in log
    assert log.count("SSH2_MSG_NEWKEYS received") > 3


def test_ipv6(conf, sshd, folder):
    """By address, in known_hosts, and as a jump host in brackets."""
    jump = sshd("jump", options="ListenAddress ::1\n")
    web = sshd("web", options="ListenAddress ::1\n")
    write(os.path.join(web.files, "f"), b"here")
    conf.knows(*(one.known_hosts_line().replace("127.0.0.1", "::1") for one in (jump, web)))
    six = conf.host(web).replace("127.0.0.1", "::1")
    ini = (f"[host byini]\nhostname = ::1\nport = {web.port}\nuser = {web.user}\n"
           f"identity_file = {web.client_key}\n"
           f"[host jumps]\nhostname = ::1\nport = {web.port}\nidentity_file = {web.client_key}\n"
           f"proxy_jump = {jump.user}@[::1]:{jump.port}\n")
    m = conf.mount(six, sections=ini)
    assert conf.files(m, web) == ["f"]
    assert conf.files(m, web, "byini") == ["f"]
    assert conf.files(m, web, "jumps") == ["f"]
    assert jump.logins() == 1
    assert "Connection from ::1" in web.read_log()


def test_address_family_and_bind(conf, web):
    """AddressFamily chooses among a name's addresses, Bind… says where from."""
    block = conf.host(web)

    def named(name, *lines):
        return block.replace("Host web", f"Host {name}", 1) + "".join(f"  {l}\n" for l in lines)

    m = conf.mount(named("address", "AddressFamily inet", "BindAddress 127.0.0.7") +
                   named("interface", "BindInterface lo") +
                   named("family", "AddressFamily inet6") +
                   named("wrong", "BindAddress 192.0.2.77"))
    for name, origin in (("address", "127.0.0.7"), ("interface", "127.0.0.1")):
        before = len(web.read_log())
        assert conf.files(m, web, name) == ["f"]
        assert f"Connection from {origin} " in web.read_log()[before:]
    for name in ("family", "wrong"):
        assert error(os.listdir, m.host(name)) == "EHOSTUNREACH"
    assert "assign requested address" in m.status()


class TestMatchExec:
    """The commands of "Match exec" are not run, by ours or by a jump host's ssh, unless allowed."""

    @pytest.fixture
    def ran(self, folder):
        return os.path.join(folder, "ran")

    @staticmethod
    def text(conf, ran, *servers, last=""):
        return f"Match exec \"touch {ran}\"\n  User nobody-at-all\n" + \
            "".join(conf.host(one) for one in servers[:-1]) + conf.host(servers[-1], *last)

    def test_refused(self, conf, web, ran):
        m = conf.mount(self.text(conf, ran, web))
        assert conf.files(m, web) == ["f"], "and the block does not count"
        assert not os.path.exists(ran)

    def test_it_is_told_once(self, conf, web, ran):
        """At the start and by --check, with the file and the line."""
        m = conf.mount(self.text(conf, ran, web))
        conf.files(m, web)
        assert m.log().count(f"{conf.path}:1: the command of Match exec") == 1
        out = run(BINARY, "--check", m.ini_path, env=m.env).stdout
        assert f"# not run: Match exec ({conf.path}:1)" in out
        assert not os.path.exists(ran)

    def test_refused_for_jump_hosts(self, conf, web, sshd, ran):
        """A host's ssh_config may itself lead a jump host through another."""
        outer, middle = sshd("outer"), sshd("middle")
        conf.knows(*(one.known_hosts_line() for one in (web, outer, middle)))
        text = self.text(conf, ran, outer, web, last=["ProxyJump middle"]) + \
            conf.host(middle, "ProxyJump outer")
        m = conf.mount(text)
        assert conf.files(m, web) == ["f"]
        assert (outer.logins(), middle.logins()) == (1, 1)
        assert not os.path.exists(ran)

    @pytest.mark.parametrize("everywhere", [True, False])
    def test_allowed(self, conf, web, ran, everywhere):
        text = self.text(conf, ran, web)
        if everywhere:
            m = conf.mount(text, match_exec="yes")
        else:
            m = conf.mount(text, sections="[host web]\nmatch_exec = yes\n")
        assert error(os.listdir, m.host("web")) == "EACCES", "the block counts"
        assert "nobody-at-all" in m.status()
        assert os.path.exists(ran)


def test_check_names_what_is_not_done(conf, web, folder):
    """Each once, with a host for an example, and nothing of what is done or is ssh's default."""
    both = ["GSSAPIAuthentication yes", "KexAlgorithms sntrup761x25519-sha512@openssh.com,"
            "curve25519-sha256"]
    text = conf.host(web, *both, "RemoteCommand ls", "Compression yes", "Ciphers aes256-ctr") + \
        conf.host(web, *both, "PKCS11Provider /nothing.so", "ProxyCommand false", name="db")
    m = conf.mount(text)
    out = run(BINARY, "--check", m.ini_path, env=m.env).stdout
    told = [line for line in out.splitlines() if line.startswith("# not done")]
    assert sorted(told) == [
        "# not done: GSSAPIAuthentication (db)",
        "# not done: KexAlgorithms sntrup761x25519-sha512@openssh.com (db)",
        "# not done: PKCS11Provider (db)",
        "# not done: RemoteCommand (web)",
    ]
    assert web.connections() == 0
