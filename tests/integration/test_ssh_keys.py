"""Who we are and who the host is: keys, certificates, agents, passphrases; known_hosts."""

import base64
import os
import re
import signal
import socket

import pytest

from procs import run, wait_for
from sk_agent import ECDSA, ED25519, SkAgent
from sshconf import Agent, SshConfig, certify, copy_key, script
from sshd import make_key
from tools import error, read, together, write


@pytest.fixture
def conf(folder, mount, sshd):
    return SshConfig(folder, mount, sshd)


@pytest.fixture
def web(sshd, conf):
    server = sshd("web", options="MaxAuthTries 3\n")
    conf.knows(server.known_hosts_line())
    return server


@pytest.fixture
def agent(folder):
    agents = []

    def start(*keys, env=None):
        agents.append(Agent(folder, *keys, env=env))
        return agents[-1]

    yield start
    for one in agents:
        one.stop()


def new_key(folder, name, *more):
    path = os.path.join(folder, name)
    if more:
        run("ssh-keygen", "-q", *more, "-C", name, "-f", path)
        return path
    return make_key(path, name)


def accept(server, *lines):
    """The server takes these keys and no others."""
    write(os.path.join(server.folder, "authorized_keys"), "".join(lines).encode())


def public(key):
    return read(key + ".pub").decode()


def opened(m, conf, server):
    return error(lambda: conf.files(m, server))


def test_several_identity_files(conf, web, folder):
    """One that is missing, one that is refused, one that is taken."""
    wrong = new_key(folder, "wrong")
    m = conf.mount(conf.host(web, f"IdentityFile {folder}/missing", f"IdentityFile {wrong}",
                             f"IdentityFile {web.client_key}", key=False))
    assert opened(m, conf, web) == "ok"
    assert "Failed publickey" in web.read_log()


def test_what_was_tried_is_told(conf, web, folder):
    accept(web)
    m = conf.mount(conf.host(web, f"IdentityFile {folder}/missing"))
    assert opened(m, conf, web) == "EACCES"
    assert "missing (missing)" in m.status() and web.client_key in m.status()


def test_default_keys_only_without_identity_file(conf, web, folder):
    """As ssh does it: a named key stands for the default ones."""
    m = conf.mount(conf.host(web, f"IdentityFile {folder}/missing", key=False), run=False)
    copy_key(web.client_key, os.path.join(m.home, ".ssh", "id_ed25519"))
    m.start()
    assert opened(m, conf, web) == "EACCES"


def test_pipes_for_files(conf, web, folder):
    """What is no file keeps nobody waiting: neither a key, its halves, nor a list of hosts."""
    pipe = os.path.join(folder, "pipe")
    for end in ("", ".pub", "-cert.pub"):
        os.mkfifo(pipe + end)
    m = conf.mount(
        conf.host(
            web,
            f"IdentityFile {pipe}",
            f"IdentityFile {web.client_key}",
            f"CertificateFile {pipe}",
            f"UserKnownHostsFile {pipe} {conf.known}",
        ),
        known=False,
    )
    assert opened(m, conf, web) == "ok"


@pytest.mark.parametrize("kind,touched", [(ED25519, True), (ECDSA, True), (ED25519, False)])
def test_a_hardware_key(conf, web, folder, kind, touched):
    """Through the agent it is a key like others; what its token signs without a touch, sshd refuses."""
    agent = SkAgent(folder, kind, touched)
    try:
        accept(web, f"{kind} {base64.b64encode(agent.public).decode()} token\n")
        m = conf.mount(conf.host(web, key=False), env=agent.env)
        assert opened(m, conf, web) == ("ok" if touched else "EACCES")
        assert agent.signed
    finally:
        agent.stop()


class TestAgent:
    def test_a_named_key_goes_first(self, conf, web, folder, agent):
        """Five keys in the agent, three attempts at the server: the public half is enough."""
        keys = [new_key(folder, f"k{n}") for n in range(5)]
        accept(web, public(keys[4]))
        only = os.path.join(folder, "only.pub")
        write(only, public(keys[4]).encode())
        m = conf.mount(conf.host(web, f"IdentityFile {only}", key=False), env=agent(*keys).env)
        assert opened(m, conf, web) == "ok"

    def test_identities_only(self, conf, web, folder, agent):
        """The agent has the right key, and it may not be used."""
        right, named = new_key(folder, "right"), new_key(folder, "named")
        accept(web, public(right))
        env = agent(right, named).env
        text = conf.host(web, f"IdentityFile {named}", "IdentitiesOnly yes", key=False)
        m = conf.mount(text, env=env)
        assert opened(m, conf, web) == "EACCES"
        assert len(re.findall("Failed publickey", web.read_log())) == 1, "nor was it offered"
        m = conf.mount(text.replace("yes", "no"), env=env)
        assert opened(m, conf, web) == "ok"

    def test_identity_agent(self, conf, web, folder, agent):
        right = new_key(folder, "right")
        accept(web, public(right))
        path = agent(right).path
        m = conf.mount(conf.host(web, f"IdentityAgent {path}", key=False))
        assert opened(m, conf, web) == "ok"
        m = conf.mount(conf.host(web, "IdentityAgent none", key=False),
                       env={"SSH_AUTH_SOCK": path})
        assert opened(m, conf, web) == "EACCES"

    @pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
    def test_other_kinds_of_keys(self, conf, web, folder, agent, kind):
        key = new_key(folder, "k", "-t", kind, "-N", "")
        accept(web, public(key))
        m = conf.mount(conf.host(web, key=False), env=agent(key).env)
        assert opened(m, conf, web) == "ok"

    def test_one_that_does_not_answer(self, conf, web, folder):
        """It is told, and the key in the file works all the same."""
        path = os.path.join(folder, "silent")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(8)
            m = conf.mount(conf.host(web, f"IdentityAgent {path}"))
            assert opened(m, conf, web) == "ok"

    def test_one_that_never_signs(self, conf, web, folder, agent):
        """A signature may wait for a person, but no longer than the connect."""
        right = new_key(folder, "right")
        accept(web, public(right))
        asked = os.path.join(folder, "asked")
        waits = script(os.path.join(folder, "waits"), f"touch {asked}; exec sleep 1000")
        one = agent(env={"SSH_ASKPASS": waits, "SSH_ASKPASS_REQUIRE": "force"})
        run("ssh-add", "-q", "-c", right, env=dict(os.environ, **one.env))  # asks for each use
        m = conf.mount(conf.host(web, key=False), env=one.env, connect_timeout="2s")
        assert opened(m, conf, web) == "ETIMEDOUT"
        assert os.path.exists(asked)


    def test_one_that_refuses_a_key(self, conf, web, folder, agent):
        """The person says no to the first, and the second is tried."""
        first, second = new_key(folder, "first"), new_key(folder, "second")
        accept(web, public(first), public(second))
        no = script(os.path.join(folder, "no"), "exit 1")
        one = agent(env={"SSH_ASKPASS": no, "SSH_ASKPASS_REQUIRE": "force"})
        run("ssh-add", "-q", "-c", first, env=dict(os.environ, **one.env))
        one.add(second)
        m = conf.mount(conf.host(web, key=False), env=one.env)
        assert opened(m, conf, web) == "ok"
        assert run("ssh-keygen", "-lf", second + ".pub").stdout.split()[1] in \
            re.search(r"Accepted publickey.*", web.read_log())[0]


class TestCertificates:
    @pytest.fixture
    def authority(self, folder):
        return new_key(folder, "authority")

    @pytest.fixture
    def trusting(self, sshd, conf, authority):
        """Believes certificates only."""
        server = sshd("web", options=f"TrustedUserCAKeys {authority}.pub\n")
        accept(server)
        conf.knows(server.known_hosts_line())
        return server

    @pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
    def test_beside_the_key(self, conf, trusting, folder, authority, kind):
        key = new_key(folder, "k", "-t", kind, "-N", "")
        certify(authority, key, "-n", trusting.user)
        m = conf.mount(conf.host(trusting, f"IdentityFile {key}", key=False))
        assert opened(m, conf, trusting) == "ok"
        assert "ID test (serial 0) CA ED25519" in trusting.read_log()

    def test_certificate_file(self, conf, trusting, folder, authority):
        key = new_key(folder, "k")
        elsewhere = os.path.join(folder, "elsewhere.pub")
        os.rename(certify(authority, key, "-n", trusting.user), elsewhere)
        text = conf.host(trusting, f"IdentityFile {key}", f"CertificateFile {elsewhere}", key=False)
        assert opened(conf.mount(text), conf, trusting) == "ok"
        m = conf.mount(text.replace("CertificateFile", "#"))
        assert opened(m, conf, trusting) == "EACCES"

    @pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
    def test_of_the_agents_key(self, conf, trusting, folder, authority, agent, kind):
        """The agent has the key alone, the certificate lies in a file."""
        key = new_key(folder, "k", "-t", kind, "-N", "")
        env = agent(key).env
        certificate = certify(authority, key, "-n", trusting.user)
        os.unlink(key)
        m = conf.mount(conf.host(trusting, f"CertificateFile {certificate}", key=False), env=env)
        assert opened(m, conf, trusting) == "ok"

    def test_in_the_agent(self, conf, trusting, folder, authority, agent):
        key = new_key(folder, "k")
        certify(authority, key, "-n", trusting.user)
        m = conf.mount(conf.host(trusting, key=False), env=agent(key).env)
        assert opened(m, conf, trusting) == "ok"

    def test_one_that_has_run_out(self, conf, trusting, folder, authority):
        key = new_key(folder, "k")
        certify(authority, key, "-n", trusting.user, "-V", "20200101:20200102")
        m = conf.mount(conf.host(trusting, f"IdentityFile {key}", key=False))
        assert opened(m, conf, trusting) == "EACCES"


class TestPassphrases:
    @pytest.fixture
    def locked(self, folder, web):
        key = new_key(folder, "locked", "-t", "ed25519", "-N", "open sesame")
        accept(web, public(key))
        return key

    @staticmethod
    def asker(folder, answer, status=0):
        """The environment of a program that answers so, and the file that tells its questions."""
        asked = os.path.join(folder, "asked")
        program = script(os.path.join(folder, "askpass"),
                         f'echo "$1" >>{asked}\n{answer}\nexit {status}\n')
        return {"SSH_ASKPASS": program, "SSH_ASKPASS_REQUIRE": "force"}, asked

    def test_asked_once(self, conf, web, folder, locked, sshd):
        """For two hosts and several sessions together, and not again for later ones."""
        other = sshd("other")
        accept(other, public(locked))
        conf.knows(web.known_hosts_line(), other.known_hosts_line())
        env, asked = self.asker(folder, "echo open sesame")
        m = conf.mount("".join(conf.host(one, f"IdentityFile {locked}", key=False)
                               for one in (web, other)), env=env, idle_timeout="300ms")
        assert together([lambda: opened(m, conf, web), lambda: opened(m, conf, other)] * 4) == \
            ["ok"] * 8
        wait_for(lambda: web.sessions() == 0, 15, "the end of the idle session")
        assert opened(m, conf, web) == "ok"
        assert read(asked).decode() == f"Enter passphrase for key '{locked}': \n"
        assert "sesame" not in m.log() + m.status()

    @pytest.mark.parametrize("answer, status", [("echo wrong", 0), ("echo open sesame", 1)])
    def test_wrong_or_refused(self, conf, web, folder, locked, answer, status):
        """It is not asked for again until the key's file changes."""
        env, asked = self.asker(folder, answer, status)
        m = conf.mount(conf.host(web, f"IdentityFile {locked}", key=False), env=env)
        assert opened(m, conf, web) == "EACCES"
        assert "has a passphrase" in m.status()
        wait_for(lambda: opened(m, conf, web) == "EACCES" and
                 m.log().count("next try") >= 2, 20, "a second try")
        assert len(read(asked).splitlines()) == 1
        self.asker(folder, "echo open sesame")
        os.utime(locked)
        wait_for(lambda: opened(m, conf, web) == "ok", 20, "the key to be asked for again")

    def test_refused_where_children_are_not_waited_for(self, conf, web, folder, locked):
        """Who starts us may ignore SIGCHLD, and a child's status would be lost."""
        env, _ = self.asker(folder, "echo open sesame", 1)
        m = conf.mount(conf.host(web, f"IdentityFile {locked}", key=False), env=env, run=False)
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        try:
            m.start()
        finally:
            signal.signal(signal.SIGCHLD, before)
        assert opened(m, conf, web) == "EACCES"

    def test_no_answer(self, conf, web, folder, locked):
        env, _ = self.asker(folder, "exec sleep 1000")
        m = conf.mount(conf.host(web, f"IdentityFile {locked}", key=False), env=env,
                       connect_timeout="1s")
        assert opened(m, conf, web) in ("ETIMEDOUT", "EACCES")
        assert "passphrase" in m.status()
        # who was away for that long is asked again
        self.asker(folder, "echo open sesame")
        wait_for(lambda: opened(m, conf, web) == "ok", 20, "the question to be asked again")

    def test_nobody_to_ask(self, conf, web, folder, locked):
        """Neither REQUIRE nor a display: no question, and none on a terminal."""
        env, asked = self.asker(folder, "echo open sesame")
        del env["SSH_ASKPASS_REQUIRE"]
        m = conf.mount(conf.host(web, f"IdentityFile {locked}", key=False), env=env)
        assert opened(m, conf, web) == "EACCES"
        assert not os.path.exists(asked)

    def test_a_display_is_enough(self, conf, web, folder, locked):
        env, _ = self.asker(folder, "echo open sesame")
        env["SSH_ASKPASS_REQUIRE"] = "prefer"
        m = conf.mount(conf.host(web, f"IdentityFile {locked}", key=False),
                       env=dict(env, DISPLAY=":77"))
        assert opened(m, conf, web) == "ok"

    def test_the_agent_goes_first(self, conf, web, folder, locked, agent):
        """A key that the agent holds open is asked for nowhere."""
        opener, _ = self.asker(folder, "echo open sesame")
        one = agent()
        run("ssh-add", "-q", locked, env=dict(os.environ, **opener, **one.env))
        env, asked = self.asker(folder, "echo wrong")
        os.unlink(asked)
        m = conf.mount(conf.host(web, f"IdentityFile {locked}", key=False),
                       env=dict(env, **one.env))
        assert opened(m, conf, web) == "ok"
        assert not os.path.exists(asked)


class TestKnownHosts:
    @staticmethod
    def other_line(server, folder):
        return server.known_hosts_line(key=new_key(folder, "other_key"))

    def test_files_of_ssh_config(self, conf, web, folder):
        """Several of the user's and several of the system's, under an ini that names none."""
        empty, last = os.path.join(folder, "empty"), os.path.join(folder, "last")
        write(empty, b"")
        write(last, web.known_hosts_line().encode())
        for option in (f"UserKnownHostsFile {empty} {last}",
                       f"UserKnownHostsFile {empty}\n  GlobalKnownHostsFile {empty} {last}"):
            m = conf.mount(conf.host(web, option), known=False)
            assert opened(m, conf, web) == "ok"
            m.unmount()
        m = conf.mount(conf.host(web, f"UserKnownHostsFile {empty}"), known=False)
        assert opened(m, conf, web) == "ENOKEY"
        assert empty in m.status()

    def test_the_ini_names_the_file(self, conf, web, folder):
        empty = os.path.join(folder, "empty")
        write(empty, b"")
        m = conf.mount(conf.host(web, f"UserKnownHostsFile {empty}"))
        assert opened(m, conf, web) == "ok"

    def test_hashed(self, conf, web):
        run("ssh-keygen", "-q", "-H", "-f", conf.known)
        assert b"|1|" in read(conf.known)
        assert opened(conf.mount(conf.host(web)), conf, web) == "ok"

    def test_a_line_without_the_port(self, conf, web, folder):
        """As ssh does it: the key of the name alone counts where the port has none of its own."""
        plain = "127.0.0.1 " + web.known_hosts_line().split(" ", 1)[1]
        conf.knows(plain)
        m = conf.mount(conf.host(web), host_key_check="accept-new")
        assert opened(m, conf, web) == "ok"
        assert read(conf.known).decode() == plain, "nothing to add"
        conf.knows(plain, self.other_line(web, folder))
        m = conf.mount(conf.host(web))
        assert opened(m, conf, web) == "EKEYREJECTED", "the port has one of its own"
        conf.knows(plain, "@revoked " + plain)
        m = conf.mount(conf.host(web))
        assert opened(m, conf, web) == "ENOKEY", "it is no key of the name"
        conf.knows("localhost " + plain.split(" ", 1)[1])
        m = conf.mount(conf.host(web, "HostKeyAlias other"))
        assert opened(m, conf, web) == "ENOKEY", "an alias has no port"

    def test_alias(self, conf, web):
        conf.knows(web.known_hosts_line().replace(f"[127.0.0.1]:{web.port}", "vault"))
        m = conf.mount(conf.host(web, "HostKeyAlias vault"))
        assert opened(m, conf, web) == "ok"

    @pytest.mark.parametrize("hashed", ["yes", "no"])
    def test_accept_new(self, conf, web, folder, hashed):
        path = os.path.join(folder, "new", "hosts")
        m = conf.mount(conf.host(web, "StrictHostKeyChecking accept-new",
                                 f"UserKnownHostsFile {path}", f"HashKnownHosts {hashed}"),
                       known=False)
        assert opened(m, conf, web) == "ok"
        assert read(path).startswith(b"|1|" if hashed == "yes" else b"[127.0.0.1]")
        found = run("ssh-keygen", "-F", f"[127.0.0.1]:{web.port}", "-f", path).stdout
        assert web.known_hosts_line().split()[2] in found

    def test_strict_checking_off(self, conf, web, folder):
        conf.knows(self.other_line(web, folder))
        m = conf.mount(conf.host(web, "StrictHostKeyChecking no"))
        assert opened(m, conf, web) == "ok"
        m = conf.mount(conf.host(web, "StrictHostKeyChecking no"), host_key_check="strict")
        assert opened(m, conf, web) == "EKEYREJECTED", "the ini's word wins"

    def test_host_key_algorithms(self, conf, sshd, folder):
        """Of a server's two keys the one that ssh_config wants, also when the other is known."""
        rsa = new_key(folder, "rsa_key", "-t", "rsa", "-N", "")
        server = sshd("web", options=f"HostKey {rsa}\n")
        conf.knows(server.known_hosts_line(key=rsa))
        m = conf.mount(conf.host(server))
        assert opened(m, conf, server) == "ok"
        m = conf.mount(conf.host(server, "HostKeyAlgorithms ssh-ed25519"))
        assert opened(m, conf, server) == "EKEYREJECTED"

    def test_revoked(self, conf, web):
        conf.knows(web.known_hosts_line(), "@revoked * " + web.known_hosts_line().split(" ", 1)[1])
        for policy in ("strict", "accept-new"):
            m = conf.mount(conf.host(web), host_key_check=policy)
            assert opened(m, conf, web) == "EKEYREJECTED"
            assert f"{conf.known}:2" in m.status()
            m.unmount()
        assert web.logins() == 0

    def test_revoked_by_a_list(self, conf, web, folder):
        """RevokedHostKeys: a list of keys, and one that cannot be read refuses all."""
        revoked = os.path.join(folder, "revoked")
        write(revoked, read(web.host_key + ".pub"))
        m = conf.mount(conf.host(web, f"RevokedHostKeys {revoked}"))
        assert opened(m, conf, web) == "EKEYREJECTED"
        assert f"{revoked}:1" in m.status()
        off = conf.mount(conf.host(web, f"RevokedHostKeys {revoked}", "StrictHostKeyChecking no"))
        assert opened(off, conf, web) == "EKEYREJECTED", "whatever is checked otherwise"
        os.unlink(revoked)
        other = conf.mount(conf.host(web, f"RevokedHostKeys {revoked}"))
        assert opened(other, conf, web) == "EKEYREJECTED"
        assert web.logins() == 0

    def test_an_authority_is_not_enough(self, conf, sshd, folder):
        """libssh checks no host certificates: the error says what to do."""
        authority = new_key(folder, "authority")
        server = sshd("web", run=False)
        certificate = certify(authority, server.host_key, "-h", "-n", "127.0.0.1")
        server.options = f"HostCertificate {certificate}\n"
        server.start()
        line = server.known_hosts_line(key=authority)
        conf.knows("@cert-authority " + line)
        m = conf.mount(conf.host(server))
        assert opened(m, conf, server) == "ENOKEY"
        assert f"{conf.known}:1" in m.status() and "certificate" in m.status()
        conf.knows("@cert-authority " + line, server.known_hosts_line())
        wait_for(lambda: opened(m, conf, server) == "ok", 20, "the key in known_hosts to count")

    def test_another_key_after_a_restart(self, conf, web, folder):
        """One message, which names the file and the line; the old key brings the host back."""
        m = conf.mount(conf.host(web), idle_timeout="300ms")
        assert opened(m, conf, web) == "ok"
        old = web.host_key
        web.stop()
        web.host_key = new_key(folder, "new_host_key")
        web.start()
        wait_for(lambda: opened(m, conf, web) == "EKEYREJECTED", 20, "the new key to be seen")
        assert f"{conf.known}:1 " in m.status()
        assert web.logins() == 1
        lines = [line for line in m.log().splitlines() if "host key changed" in line]
        assert len(lines) == len(re.findall("next try", "\n".join(lines))), lines
        web.stop()
        web.host_key = old
        web.start()
        wait_for(lambda: opened(m, conf, web) == "ok", 40, "the host to come back")
