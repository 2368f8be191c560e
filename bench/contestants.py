"""Who is measured: scoutfs, what one would mount instead, and the limits.

A contestant has a root (the folder in which a work finds its files, or None), cpu() in seconds so far,
peak() in MiB, and close(), after which fault says what was wrong with its end, if that counts. The functions
below return what opens one: {name: open} for a Case.
"""

import concurrent.futures
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

import process_table
from mount import clean_env, mounted
from procs import end, run, signal_all, tool, wait_for
from servers import BUCKET

TIME = ("time", "-qf", "\n%M") if shutil.which("time") else ()  # its last line is KiB
LIMIT = 900  # seconds that anything may take: rclone needs 300 for 1,000 files at 50 ms


class Daemons:
    """What is measured of the processes of some sessions; leaders are their first ones."""

    fault = ""

    def cpu(self):
        return process_table.cpu({"it": self.leaders})["it"]

    def peak(self):
        return process_table.peak_mib(self.leaders)

    def held(self):
        return process_table.held_mib(self.leaders)


class Mounted(Daemons):
    """A daemon in the foreground, in a session of its own."""

    def __init__(self, folder, command, root=(), env=None, wait=True):
        self.point = os.path.join(folder, "mnt")
        os.makedirs(self.point)
        self.root = os.path.join(self.point, *root)
        self.name = command[0]
        self.killed = False
        with open(os.path.join(folder, "log"), "wb") as log:
            self.log = log.name
            self.process = subprocess.Popen([part.replace("MNT", self.point) for part in command],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                            start_new_session=True)
        self.leaders = [self.process.pid]
        if wait:
            try:
                self.wait()
            except BaseException:
                self.close()
                raise

    def wait(self, seconds=60):
        wait_for(lambda: mounted(self.point) or self.process.poll() is not None, seconds, self.name)
        if self.process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.name} ended: {f.read()[-300:]}")

    def unmount(self, seconds=10):
        """And waits for its end. False: it had to be killed. Who was killed a moment ago may hold it yet."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if mounted(self.point):
                run(tool("fusermount3"), "-u", self.point, check=False)
            try:
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
        if self.process.poll() is None:
            end(self.process)
            return False
        return True

    def close(self):
        self.killed = not self.unmount()
        signal_all(process_table.members(self.process.pid) - {self.process.pid}, 9)
        if mounted(self.point):
            run(tool("fusermount3"), "-uz", self.point, check=False)
        shutil.rmtree(os.path.join(os.path.dirname(self.point), "cache"), ignore_errors=True)  # lies in memory


class Scoutfs(Mounted):
    """Not to end by itself and well, once it is unmounted, is its fault."""

    def close(self):
        super().close()
        if self.killed or self.process.returncode:
            how = "had to be killed" if self.killed else f"ended with status {self.process.returncode}"
            with open(self.log, encoding="utf-8", errors="replace") as f:
                self.fault = f"{self.name} {how}: {f.read()[-300:]}"

    def metric(self, name):
        with open(os.path.join(self.point, ".scoutfs", "metrics"), encoding="utf-8") as f:
            return next((float(line.split()[1]) for line in f if line.startswith(name + " ")), 0.0)


class Many(Daemons):
    """Several that are one contestant: an sshfs for each host. start() may be what is measured."""

    def __init__(self, openers):
        self.openers, self.mounts = openers, []
        self.root = None

    def start(self):
        """All at once, as a login script would with &."""
        self.mounts = []
        try:
            for opener in self.openers:
                self.mounts.append(opener())
            for mount in self.mounts:
                mount.wait(LIMIT)
        except BaseException:
            self.close()
            raise
        return self

    @property
    def leaders(self):
        return [mount.process.pid for mount in self.mounts]

    def close(self):
        for mount in self.mounts:
            run(tool("fusermount3"), "-u", mount.point, check=False)
        for mount in self.mounts:
            mount.close()


class Program:
    """A limit: no mount, but a program that does the work and nothing else; or nothing but a folder.
    time(1), where it is installed, tells the memory of each: ru_maxrss of what Python starts begins with Python's."""

    def __init__(self, b, root=None):
        self.b, self.root, self.fault = b, root, ""
        self.used = 0.0
        self.running, self.at_once, self.peaks = [], 0, []

    def run(self, *command, **more):
        """To its end; its output is thrown away."""
        self.start(*command, **more)
        self.join()

    def start(self, *command, **more):
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **more}
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen((*TIME, *command), start_new_session=True, stderr=said, **more)
            self.running.append((process, os.dup(said.fileno())))
        self.at_once = max(self.at_once, len(self.running))
        return process

    def join(self, but=0):
        """Waits for all that were started, but for so many of the first ones; RuntimeError if one failed."""
        while len(self.running) > but:
            process, said = self.running[-1]
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.running.pop()
            self.used += used.ru_utime + used.ru_stime
            with open(said, encoding="utf-8", errors="replace") as file:
                file.seek(0)
                words = file.read()
            if TIME:
                words, _, kib = words.rstrip("\n").rpartition("\n")
                self.peaks.append(int(kib) / 1024)
            if process.returncode:
                raise RuntimeError(f"{process.args[len(TIME)]}: {words[-300:]}")

    def cpu(self):
        return self.used

    def peak(self):
        """Added up of as many as there were at once."""
        return sum(sorted(self.peaks)[-self.at_once:])

    def close(self):
        for process, said in self.running:
            end(process)
            os.close(said)


class Own:
    """A limit that the bench itself works in, as on a local file."""

    def __init__(self, root):
        self.root, self.fault = root, ""

    def cpu(self):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def peak(self):
        return 0.0

    def close(self):
        pass


def scoutfs(b, port=None, s3_port=None, hosts=1, root=(), more="", black=None):
    """Mounted with so many names for the host; root is below the mount, ("hosts", "web1") for instance.
    more goes into [scoutfs]; black is the port of a further host, "black"."""
    folder = b.make_folder("scoutfs")
    lines = [f"[scoutfs]\n{more}\n[hosts]\nssh_config =\n"]
    if port:
        lines.append(f"known_hosts = {b.known_hosts}\n")
        section = b.sshd.ini(port)
        lines += [section.replace("web1]", f"web{i}]") for i in range(1, hosts + 1)]
        if black:
            lines.append(b.sshd.ini(black).replace("web1]", "black]"))
    if s3_port:
        lines.append(b.rgw.ini(BUCKET, s3_port))
    ini = os.path.join(folder, "scoutfs.ini")
    with open(os.open(ini, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write("".join(lines))
    return Scoutfs(folder, [b.binary, ini, "MNT", "-f"], root, clean_env(folder))


def sshfs(b, port, *options, wait=True):
    command = ["sshfs", "-f", f"{b.sshd.user}@127.0.0.1:{b.sshd.files}", "MNT", "-p", str(port), "-F", "/dev/null",
               "-o", f"IdentityFile={b.key}", "-o", f"UserKnownHostsFile={b.known_hosts}", *options]
    folder = b.make_folder("sshfs")
    return Mounted(folder, command, env=clean_env(folder), wait=wait)


def sshfs_tuned(b, port, wait=True):
    return sshfs(b, port, "-o", "Ciphers=aes128-gcm@openssh.com", "-o", "max_conns=4", wait=wait)


def rclone(b, remote, *options, wait=True, **env):
    folder = b.make_folder("rclone")
    command = ["rclone", "mount", remote, "MNT", "--cache-dir", os.path.join(folder, "cache"), *options]
    return Mounted(folder, command, wait=wait,
                   env=clean_env(folder, RCLONE_CONFIG=os.path.join(folder, "none.conf"), **env))


def rclone_sftp(b, port, *options, wait=True):
    remote = f":sftp,host=127.0.0.1,port={port},user={b.sshd.user},key_file={b.key}," \
        f"known_hosts_file={b.known_hosts},shell_type=none:{b.sshd.files}"
    return rclone(b, remote, *options, wait=wait)


def rclone_sftp_full(b, port, wait=True):
    return rclone_sftp(b, port, *FULL, wait=wait)


def rclone_s3(b, port, *options):
    return rclone(b, f":s3,provider=Ceph,env_auth=true,endpoint='http://127.0.0.1:{port}':{BUCKET}", *options,
                  AWS_ACCESS_KEY_ID=b.rgw.access_key, AWS_SECRET_ACCESS_KEY=b.rgw.secret_key)


def s3fs(b, port):
    folder = b.make_folder("s3fs")
    cache = os.path.join(folder, "cache")  # in memory, as rclone's
    os.mkdir(cache)
    secret = os.path.join(folder, "passwd")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write(f"{b.rgw.access_key}:{b.rgw.secret_key}\n")
    return Mounted(folder, ["s3fs", BUCKET, "MNT", "-f", "-o", f"url=http://127.0.0.1:{port}", "-o",
                            "use_path_request_style", "-o", f"passwd_file={secret}", "-o", f"tmpdir={cache}"],
                   env=clean_env(folder))


FULL = ("--vfs-cache-mode", "full")


def hosts(b, rtt=0, with_rclone=True, tuned=False):
    """Who mounts a host, over a link with that round trip (ms). Each root is the same folder, sshd's files.
    In QUICK without rclone full, and with sshfs tuned only if that is said. (Of what is written "rclone full"
    returns from close, and from fsync, before the server has any of it.)"""
    def port():
        return b.ssh_port(rtt)

    found = {"scoutfs": lambda: scoutfs(b, port(), root=("hosts", "web1")), "sshfs": lambda: sshfs(b, port())}
    if tuned or not b.quick:
        found["sshfs tuned"] = lambda: sshfs_tuned(b, port())
    if with_rclone:
        found["rclone"] = lambda: rclone_sftp(b, port())
    if with_rclone and not b.quick:
        found["rclone full"] = lambda: rclone_sftp_full(b, port())
    return found


def mounts_of_hosts(b):
    """{name: open(b, port, wait=…)} of who mounts one host a mount; sshfs alone in QUICK."""
    if b.quick:
        return {"sshfs": sshfs}
    return {"sshfs": sshfs, "sshfs tuned": sshfs_tuned, "rclone": rclone_sftp, "rclone full": rclone_sftp_full}


def of_many_hosts(b, count):
    """Who mounts so many hosts at once, each with all its mounts up."""
    def theirs(opener):
        return lambda: Many([lambda: opener(b, b.sshd.port, wait=False)] * count).start()

    found = {"scoutfs": lambda: scoutfs(b, b.sshd.port, hosts=count, root=("hosts",))}
    found.update({name: theirs(opener) for name, opener in mounts_of_hosts(b).items()})
    return found


def touch(folders):
    """Looks into all of them at once."""
    with concurrent.futures.ThreadPoolExecutor(len(folders)) as pool:
        list(pool.map(lambda folder: os.stat(f"{folder}/new"), folders))


def roots(c, count):
    """Of scoutfs, opened at /hosts, or of as many mounts."""
    if isinstance(c, Many):
        return [mount.root for mount in c.mounts]
    return [f"{c.root}/web{i}" for i in range(1, count + 1)]


def models(b, rtt=0, bytes_per_s=0):
    """Who mounts the registry, over such a link. Each root holds the bucket's keys as paths."""
    def port():
        return b.s3_port(rtt, bytes_per_s)

    return {"scoutfs": lambda: scoutfs(b, s3_port=port(), root=("models",)),
            "rclone": lambda: rclone_s3(b, port()), "rclone full": lambda: rclone_s3(b, port(), *FULL),
            "s3fs": lambda: s3fs(b, port())}


def ssh_words(b, rtt=0):
    """Options that ssh and sftp need to reach the host; the port goes before, as -p or -P."""
    return ["-F", "/dev/null", "-i", str(b.key), "-o", f"UserKnownHostsFile={b.known_hosts}", "-o",
            "BatchMode=yes"], str(b.ssh_port(rtt))


def with_ssh_cat(b, name, rtt=0):
    """A limit for reading a file: (open, work)."""
    def work(program):
        words, port = ssh_words(b, rtt)
        program.run("ssh", "-p", port, *words, f"{b.sshd.user}@127.0.0.1",
                    f"cat {b.sshd.files}/{name}")
    return lambda: Program(b), work


def in_connected_ssh(b, program, rounds, command, source=os.devnull):
    """A work: the median time of so many commands on the host, each with the file source as its input, over a
    connection that is there before."""
    words, port = ssh_words(b)
    there = ["-p", port, *words, f"{b.sshd.user}@127.0.0.1"]
    master = os.path.join(b.make_folder("ssh"), "master")
    seconds = []
    # cat ends with its input, and the connection with it
    process = program.start("ssh", "-M", "-S", master, *there, "cat", stdin=subprocess.PIPE)
    with process.stdin:
        wait_for(lambda: os.path.exists(master), 60, "ssh -M")
        for _ in range(rounds):
            with open(source, "rb") as file:
                start = time.monotonic()
                program.start("ssh", "-S", master, *there, command, stdin=file)
                program.join(but=1)
                seconds.append(time.monotonic() - start)
    program.join()
    return per_round(statistics.median(seconds), rounds)


def per_round(seconds, rounds):
    """What a work returns that took so long for each of what it did; connecting is not in it."""
    return {"value": seconds, "seconds": seconds * rounds}


def with_sftp(b, name, rtt=0):
    def work(program):
        words, port = ssh_words(b, rtt)
        program.run("sftp", "-q", "-P", port, *words, f"{b.sshd.user}@127.0.0.1:{b.sshd.files}/{name}", "/dev/null")
    return lambda: Program(b), work


def ranges(size, step):
    return [f"{start}-{min(start + step, size) - 1}" for start in range(0, size, step)]


def with_curl(b, key, size, connections, rtt=0, bytes_per_s=0):
    """A limit for reading an object: curl, with so many ranges side by side."""
    def work(program):
        url = b.signed_url(key, rtt, bytes_per_s)
        for part in ranges(size, -(-size // connections)):
            program.start("curl", "-sSf", "--noproxy", "*", "-o", "/dev/null", "-r", part, url)
        program.join()
    return lambda: Program(b), work


def with_one_curl(b, key, size, step, connections, rtt=0, bytes_per_s=0):
    """The same with ranges of step bytes, over so many connections of one curl."""
    def work(program):
        url = b.signed_url(key, rtt, bytes_per_s)
        words = 'silent\nshow-error\nfail\nnoproxy = "*"\noutput = /dev/null\n'
        path = os.path.join(b.make_folder("curl"), "config")
        with open(path, "w", encoding="utf-8") as f:
            f.write("next\n".join(f'{words}range = {part}\nurl = "{url}"\n' for part in ranges(size, step)))
        program.run("curl", "--parallel", "--parallel-max", str(connections), "-K", path)
    return lambda: Program(b), work
