"""The servers of a run: the tests' own sshd and radosgw, links with distance before them, their files.

Everything starts when it is first asked for and ends with the run. Files lie in memory, where the machine has
such a place: the servers' disk is not what is measured.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time

import boto3
from botocore.config import Config

import process_table
from procs import end, family, run, signal_all, tool
from rgw import Rgw
from sshd import Sshd, make_key

MIB = 1 << 20
BUCKET = "registry"


class Link:
    """Before a port: a round trip of so many ms, and so many bytes a second of each connection."""

    def __init__(self, program, target, rtt, bytes_per_s):
        self.process = subprocess.Popen([program, str(target), str(rtt), str(bytes_per_s)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.port = int(self.process.stdout.readline())

    def freeze(self):
        """A black hole: what is sent is taken and never answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        end(self.process)


class Servers:
    def __init__(self, binary, quick=False):
        self.binary, self.quick = os.path.abspath(binary), quick
        self.builds = os.path.dirname(self.binary)  # with the bench's own programs
        self.links = {}
        self.stack = contextlib.ExitStack()
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.mkdtemp(prefix="scoutfs-bench-", dir=shm)
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)

    def close(self):
        """Ends all that was started, also what an interrupt at a wrong moment left, and the files go."""
        keep = {pid for pids in self.leaders().values() for pid in pids}
        keep = {pid for leader in keep for pid in family(leader)}
        signal_all(set(family(os.getpid())[1:]) - keep, signal.SIGKILL)
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as f:
            for point in (line.split(" ")[1] for line in f):
                if point.startswith(self.folder + "/"):
                    run(tool("fusermount3"), "-uz", point, check=False)
        self.stack.close()

    def make_folder(self, name):
        return tempfile.mkdtemp(prefix=name + "-", dir=self.folder)

    @functools.cached_property
    def key(self):
        return make_key(os.path.join(self.folder, "key"))

    @functools.cached_property
    def known_hosts(self):
        path = os.path.join(self.folder, "known_hosts")
        with open(path, "w", encoding="utf-8") as f:
            f.write(self.sshd.known_hosts_line())
        return path

    @functools.cached_property
    def sshd(self):
        """One real sshd. It is as many hosts as the config has names for it: of each connection it makes a
        process of its own, anyhow. What `ssh` runs there is run without bash's ~/.bashrc, which is no matter here:
        bash reads it in a first shell (SHLVL)."""
        sshd = Sshd(os.path.join(self.folder, "web1"), "web1", self.key,
                    "MaxStartups 5000\nMaxSessions 1000\nSetEnv SHLVL=1")
        sshd.start()
        self.stack.callback(sshd.stop)
        os.mkdir(os.path.join(sshd.files, "new"))
        for i in range(4):
            with open(os.path.join(sshd.files, f"warm{i}"), "wb"):
                pass  # for suite.connect
        return sshd

    @functools.cached_property
    def rgw(self):
        """With the bucket BUCKET."""
        rgw = Rgw(self.make_folder("rgw"), memory=8 << 30)
        self.stack.callback(rgw.stop)
        rgw.start()
        rgw.make_bucket(BUCKET)
        return rgw

    def link(self, port, rtt, bytes_per_s=0, name=""):
        """Links of the same numbers (and name) are the same one."""
        asked = (port, rtt, bytes_per_s, name)
        if asked not in self.links:
            link = Link(os.path.join(self.builds, "delay"), port, rtt, bytes_per_s)
            self.stack.callback(link.stop)
            self.links[asked] = link
        return self.links[asked]

    def ssh_port(self, rtt=0, bytes_per_s=0, name=""):
        """sshd's, or that of a link before it."""
        if not rtt and not bytes_per_s and not name:
            return self.sshd.port
        known = self.known_hosts
        before = len(self.links)
        port = self.link(self.sshd.port, rtt, bytes_per_s, name).port
        if len(self.links) > before:
            with open(known, "a", encoding="utf-8") as f:
                f.write(self.sshd.known_hosts_line(port))
        return port

    def s3_port(self, rtt=0, bytes_per_s=0):
        if not rtt and not bytes_per_s:
            return self.rgw.port
        return self.link(self.rgw.port, rtt, bytes_per_s).port

    def signed_url(self, key, rtt=0, bytes_per_s=0):
        """For curl, which then needs no credentials; good for an hour."""
        client = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.s3_port(rtt, bytes_per_s)}",
            region_name="us-east-1", aws_access_key_id=self.rgw.access_key,
            aws_secret_access_key=self.rgw.secret_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, proxies={}))
        return client.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key})

    def make_file(self, name, mib):
        """A file of so many MiB on the host, which does not compress."""
        path = os.path.join(self.sshd.files, name)
        if not os.path.exists(path):
            block = os.urandom(min(mib, 16) * MIB)
            with open(path, "wb") as f:
                for _ in range(0, mib, 16):
                    f.write(block[:(mib * MIB) - f.tell()])
        return path

    def make_many(self, name, count, size, per_folder=0):
        """A folder of count files on the host: f00000…, or in folders of so many each. They are an hour old, as
        what is read mostly is: scoutfs does not read ahead what was written seconds ago."""
        top, hour_ago = os.path.join(self.sshd.files, name), time.time() - 3600
        if not os.path.exists(top):
            for i in range(count):
                folder = os.path.join(top, f"d{i // per_folder:03}") if per_folder else top
                os.makedirs(folder, exist_ok=True)
                path = os.path.join(folder, f"f{i:05}")
                with open(path, "wb") as f:
                    f.write((f"line {i} of {name}\n" * (size // 8))[:size].encode())
                os.utime(path, (hour_ago, hour_ago))
        return top

    def clear(self):
        """What a work has written is gone before the next one starts: new/ on the host, out/ beside it."""
        out = os.path.join(self.folder, "out")
        shutil.rmtree(out, ignore_errors=True)
        os.mkdir(out)
        if "sshd" in self.__dict__:
            new = os.path.join(self.sshd.files, "new")
            shutil.rmtree(new, ignore_errors=True)
            os.mkdir(new)

    def leaders(self):
        """{kind: [pid…]} of the servers and the links, each the first of its session."""
        found = {"link": [link.process.pid for link in self.links.values()]}
        if "sshd" in self.__dict__:
            found["sshd"] = [self.sshd.process.pid]
        if "rgw" in self.__dict__:
            found["rgw"] = [process.pid for process in self.rgw.processes]
        return found

    def cpu(self):
        """Seconds that they have taken so far."""
        return process_table.cpu(self.leaders())
