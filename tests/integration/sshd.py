"""A throw-away OpenSSH server on loopback: its own keys, its own folder, its own log."""

import collections
import getpass
import os
import pwd
import re
import signal
import subprocess

from procs import end, family, free_port, run, signal_all, tool, wait_for


def make_key(path, comment="scoutfs-test"):
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
    return path


def account_locked(user):
    """sshd refuses a locked account unless PAM decides; root is locked where only sudo is used."""
    try:
        with open("/etc/shadow", encoding="utf-8") as f:
            return any(line.startswith(f"{user}:!") for line in f)
    except OSError:
        return False


class Host:
    """What the config says of a server: its name, port, user, keys, and the folder it shows."""

    def known_hosts_line(self, port=None, key=None):
        with open((key or self.host_key) + ".pub", encoding="utf-8") as f:
            kind, public = f.read().split()[:2]
        return f"[127.0.0.1]:{port or self.port} {kind} {public}\n"

    def ini(self, port=None, root=None, **more):
        """Its section of scoutfs.ini; port when a proxy stands before it."""
        lines = [f"[host {self.name}]", "hostname = 127.0.0.1", f"port = {port or self.port}",
                 f"user = {self.user}", f"identity_file = {self.client_key}",
                 f"root = {root or self.files}"]
        lines += [f"{key} = {value}" for key, value in more.items()]
        return "\n".join(lines) + "\n"


class Sshd(Host):
    """folder/files is what it is meant to show; the config of a host names it as root."""

    def __init__(self, folder, name, client_key, options="", count_sftp=False, runner=(),
                 sftp="internal-sftp"):
        self.folder, self.name = str(folder), name
        self.client_key = str(client_key)
        self.runner = list(runner)
        self.user = getpass.getuser()
        self.port = free_port()
        self.options = options
        self.count_sftp = count_sftp
        self.sftp = sftp
        self.process = None
        self.files = os.path.join(self.folder, "files")
        self.log = os.path.join(self.folder, "sshd.log")
        self.sftp_log = os.path.join(self.folder, "sftp.log")
        os.makedirs(self.files, exist_ok=True)
        self.host_key = make_key(os.path.join(self.folder, "host_key"), name)

    def configure(self):
        with open(self.client_key + ".pub", encoding="utf-8") as f:
            key = f.read()
        keys = os.path.join(self.folder, "authorized_keys")
        with open(keys, "w", encoding="utf-8") as f:
            f.write(key)
        sftp = self.sftp
        if self.count_sftp:  # only the program tells its requests to its stderr
            sftp = f"/usr/lib/openssh/sftp-server -e -l DEBUG3 2>>{self.sftp_log}"
        path = os.path.join(self.folder, "sshd_config")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""{self.options}
Port {self.port}
ListenAddress 127.0.0.1
HostKey "{self.host_key}"
AuthorizedKeysFile "{keys}"
PidFile "{self.folder}/sshd.pid"
LogLevel VERBOSE
StrictModes no
UseDNS no
UsePAM {"yes" if account_locked(self.user) else "no"}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
Subsystem sftp {sftp}
""")
        return path

    def start(self):
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        path = self.configure()
        before = len(self.read_log())
        sshd = tool("sshd")  # re-executes itself, hence absolute paths everywhere
        run(*self.runner, sshd, "-t", "-f", path)
        self.process = subprocess.Popen([*self.runner, sshd, "-D", "-f", path, "-E", self.log],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: "Server listening" in self.read_log()[before:]
                 or self.process.poll() is not None, 10, self.name)
        if self.process.poll() is not None:
            raise RuntimeError(f"sshd {self.name} ended:\n{self.read_log()}")
        return self

    def stop(self):
        """Ends the listener and every connection."""
        end(self.process)
        self.process = None

    def kill(self):
        """As a machine that loses its sshd: every connection is cut at once."""
        signal_all(family(self.process.pid), signal.SIGKILL)
        self.process.wait()
        self.process = None

    def freeze(self):
        """Alive to TCP, silent to SSH."""
        signal_all(family(self.process.pid), signal.SIGSTOP)

    def thaw(self):
        signal_all(family(self.process.pid), signal.SIGCONT)

    def sessions(self):
        """Processes that serve a connection now (one for each, their listener not counted)."""
        return len(family(self.process.pid)) - 1

    def read_log(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def logins(self):
        """Sessions that were ever authenticated."""
        return len(re.findall(r"Accepted publickey", self.read_log()))

    def connections(self):
        """TCP connections ever accepted."""
        return len(re.findall(r"Connection from 127", self.read_log()))

    def sftp_requests(self, kind):
        """How many requests of a kind ("lstat", "stat", "opendir"…) it was sent (count_sftp)."""
        with open(self.sftp_log, encoding="utf-8", errors="replace") as f:
            return len(re.findall(rf"^debug[13]: request \d+: {kind}\b", f.read(), re.M))

    def sftp_counts(self):
        """{kind: number} of all requests it was sent (count_sftp)."""
        with open(self.sftp_log, encoding="utf-8", errors="replace") as f:
            return collections.Counter(re.findall(
                r"^debug[123]: request \d+: (?!sent)([\w-]+)", f.read(), re.M))
