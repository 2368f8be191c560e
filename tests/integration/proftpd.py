"""ProFTPD's mod_sftp on loopback: an SSH server that shares no line with OpenSSH's."""

import getpass
import os
import subprocess

from procs import answers, end, free_port, run, tool, wait_for
from sshd import Host, make_key


class Proftpd(Host):
    """folder/files is what it is meant to show, as Sshd's."""

    def __init__(self, folder, name, client_key):
        self.folder, self.name, self.client_key = str(folder), name, str(client_key)
        self.user = getpass.getuser()
        self.port = free_port()
        self.process = None
        self.files = os.path.join(self.folder, "files")
        self.log = os.path.join(self.folder, "proftpd.log")
        os.makedirs(self.files)
        self.host_key = make_key(os.path.join(self.folder, "host_key"), name)

    def configure(self):
        keys = os.path.join(self.folder, "authorized_keys")
        with open(keys, "w", encoding="utf-8") as f:
            f.write(run("ssh-keygen", "-e", "-f", self.client_key + ".pub").stdout)
        path = os.path.join(self.folder, "proftpd.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""ModulePath /usr/lib/proftpd
LoadModule mod_sftp.c
ServerType standalone
DefaultServer on
DefaultAddress 127.0.0.1
Port {self.port}
User nobody
Group nogroup
RootLogin on
UseFtpUsers off
RequireValidShell off
UseReverseDNS off
WtmpLog off
TransferLog none
AllowOverwrite on
AllowStoreRestart on
TimesGMT on
Umask 022
PidFile {self.folder}/proftpd.pid
ScoreboardFile {self.folder}/scoreboard
DelayEngine off
SystemLog {self.log}
SFTPEngine on
SFTPLog {self.log}
SFTPHostKey {self.host_key}
SFTPAuthMethods publickey
SFTPAuthorizedUserKeys file:{keys}
""")
        os.chmod(path, 0o600)
        return path

    def start(self):
        path = self.configure()
        self.process = subprocess.Popen([tool("proftpd"), "-n", "-q", "-c", path],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: answers(self.port) or self.process.poll() is not None, 10, self.name)
        if self.process.poll() is not None:
            raise RuntimeError(f"proftpd ended:\n{self.read_log()}")
        return self

    def stop(self):
        end(self.process)
        self.process = None

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()
