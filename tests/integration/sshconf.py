"""Hosts as an ssh_config says them: the file, the ini that names it, an agent, certificates."""

import os
import socket
import subprocess

from procs import end, run, tool, wait_for
from tools import write


class SshConfig:
    """Builds mounts whose hosts come from an ssh_config of the test's own."""

    def __init__(self, folder, mount, sshd):
        self.folder, self.start_mount, self.sshd = folder, mount, sshd
        self.path = os.path.join(folder, "ssh_config")
        self.known = os.path.join(folder, "known")

    def host(self, server, *lines, name=None, key=True):
        """A Host block for a server."""
        block = [f"Host {name or server.name}", f"HostName 127.0.0.1\nPort {server.port}",
                 f"User {server.user}"]
        if key:
            block.append(f"IdentityFile {server.client_key}")
        return "\n  ".join([*block, *lines]) + "\n"

    def knows(self, *lines):
        write(self.known, "".join(lines).encode())
        return self.known

    def mount(self, text, env=None, sections="", known=True, run=True, **hosts):
        """known: the ini names the file of known hosts, which then wins over ssh_config's."""
        write(self.path, text.encode())
        lines = ["[hosts]", f"ssh_config = {self.path}"]
        if known:
            lines.append(f"known_hosts = {self.known}")
        lines += [f"{key} = {value}" for key, value in hosts.items()]
        return self.start_mount("\n".join(lines) + "\n" + sections, env=env, run=run)

    def files(self, m, server, name=None):
        """What the server shows through the mount."""
        return os.listdir(m.host(name or server.name) + server.files)


def listens(path):
    """An agent binds its socket before it listens there."""
    with socket.socket(socket.AF_UNIX) as one:
        return one.connect_ex(path) == 0


class Agent:
    """ssh-agent, in the foreground, with these keys."""

    def __init__(self, folder, *keys, env=None):
        self.path = os.path.join(folder, "agent.sock")
        self.process = subprocess.Popen([tool("ssh-agent"), "-D", "-a", self.path],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        env=dict(os.environ, **(env or {})))
        self.env = {"SSH_AUTH_SOCK": self.path}
        try:
            wait_for(lambda: listens(self.path), 10, "ssh-agent")
            for key in keys:
                self.add(key)
        except BaseException:
            self.stop()
            raise

    def add(self, key):
        run("ssh-add", "-q", key, env=dict(os.environ, **self.env))

    def stop(self):
        end(self.process)


def certify(authority, key, *options, identity="test"):
    """Signs KEY.pub; returns the path of the certificate, KEY-cert.pub."""
    run("ssh-keygen", "-q", "-s", authority, "-I", identity, *options, key + ".pub")
    return key + "-cert.pub"


def copy_key(key, to):
    for suffix in ("", ".pub"):
        with open(key + suffix, "rb") as f:
            write(to + suffix, f.read())
    os.chmod(to, 0o600)
    return to


def script(path, text):
    write(path, ("#!/bin/sh\n" + text).encode())
    os.chmod(path, 0o755)
    return path
