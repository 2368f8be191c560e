"""The same work on scoutfs and on what a user would mount instead, in turn, in one run.

usage: run.py [--rounds N] [--only WORD] BINARY

Each round mounts every contestant afresh (so nothing is cached), does the work, unmounts; the table
shows medians with their spread, and each one's ratio to scoutfs (over 1: scoutfs is faster). Raw
numbers go to bench/results/<date>.json. Servers are the tests' own, on loopback; "rtt 50" passes the
tests' proxy, which delays each direction by 25 ms.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "integration"))

from mount import clean_env, mounted  # noqa: E402
from procs import end, run, tool, wait_for  # noqa: E402
from proxy import Proxy  # noqa: E402
from rgw import Rgw  # noqa: E402
from sshd import Sshd, make_key  # noqa: E402

MIB = 1 << 20
MODEL_BYTES = 24834009
READERS = 100
MODEL = "performance/arnir0_Tiny-LLM/main/model.zip"
BUCKET = "registry"


class Mounted:
    """A contestant's mount; self.root is where the work finds its files."""

    def __init__(self, folder, command, root=(), env=None):
        self.point = os.path.join(folder, "mnt")
        os.makedirs(self.point)
        self.root = os.path.join(self.point, *root)
        self.log = open(os.path.join(folder, "log"), "wb")
        self.process = subprocess.Popen([part.replace("MNT", self.point) for part in command],
                                        stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, env=env, start_new_session=True)
        try:
            wait_for(lambda: mounted(self.point) or self.process.poll() is not None, 30, command[0])
            if self.process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended, see {self.log.name}")
        except BaseException:
            self.close()
            raise

    def close(self):
        run(tool("fusermount3"), "-u", self.point, check=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            end(self.process)
        if mounted(self.point):
            run(tool("fusermount3"), "-uz", self.point, check=False)
        self.log.close()


class Bench:
    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder
        self.key = make_key(os.path.join(folder, "key"))
        self.sshd = Sshd(os.path.join(folder, "web1"), "web1", self.key)
        self.rgw = Rgw(self.make_folder("rgw"))
        self.far = Proxy(self.sshd.port)
        self.far.rtt = 0.05
        self.archive = os.path.join(folder, "500.tar")
        self.few = os.path.join(folder, "10.tar")

    def make_folder(self, name):
        return tempfile.mkdtemp(prefix=name + "-", dir=self.folder)

    def __enter__(self):
        self.sshd.start()
        self.far.start()
        self.rgw.start()
        self.known_hosts = os.path.join(self.folder, "known_hosts")
        with open(self.known_hosts, "w", encoding="utf-8") as f:
            f.write(self.sshd.known_hosts_line() + self.sshd.known_hosts_line(self.far.port))
        self.fill()
        return self

    def __exit__(self, *_):
        self.far.stop()
        self.sshd.stop()
        self.rgw.stop()

    def fill(self):
        files = self.sshd.files
        with open(os.path.join(files, "1g"), "wb") as f:
            for _ in range(1024):
                f.write(os.urandom(MIB))
        with open(os.path.join(files, "25m"), "wb") as f:
            for _ in range(25):
                f.write(os.urandom(MIB))
        for folder, count in (("many", 20000), ("small", 2000)):
            os.mkdir(os.path.join(files, folder))
            for i in range(count):
                with open(os.path.join(files, folder, f"f{i:05}"), "wb") as f:
                    f.write(b"x" * (4096 if folder == "small" else 0))
        tree = os.path.join(self.folder, "tree")
        for i in range(500):
            path = os.path.join(tree, f"d{i % 20:02}", f"f{i:03}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(b"x" * 4096)
        run("tar", "-C", tree, "-cf", self.archive, ".")
        run("tar", "-C", tree, "-cf", self.few, *(f"d00/f{i:03}" for i in range(0, 200, 20)))
        self.rgw.make_bucket(BUCKET)
        self.rgw.put(BUCKET, MODEL, os.urandom(MODEL_BYTES))
        local = os.path.join(self.folder, "model.zip")
        with open(local, "wb") as f:
            f.write(os.urandom(MODEL_BYTES))

    def clear(self):
        """What a work has written is gone before the next one starts."""
        new = os.path.join(self.sshd.files, "new")
        shutil.rmtree(new, ignore_errors=True)
        os.mkdir(new)

    # contestants

    def scoutfs(self, port):
        folder = self.make_folder("scoutfs")
        ini = os.path.join(folder, "scoutfs.ini")
        with open(os.open(ini, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write("[hosts]\nssh_config =\n" f"known_hosts = {self.known_hosts}\n"
                    + self.sshd.ini(port) + self.rgw.ini(BUCKET))
        return folder, [self.binary, ini, "MNT", "-f"]

    def host_scoutfs(self, port):
        return Mounted(*self.scoutfs(port), root=("hosts", "web1"))

    def models_scoutfs(self):
        return Mounted(*self.scoutfs(self.sshd.port), root=("models",))

    def sshfs(self, port, *options):
        command = ["sshfs", "-f", f"{self.sshd.user}@127.0.0.1:{self.sshd.files}", "MNT", "-p",
                   str(port), "-F", "/dev/null", "-o", f"IdentityFile={self.key}",
                   "-o", f"UserKnownHostsFile={self.known_hosts}", *options]
        return Mounted(self.make_folder("sshfs"), command)

    def sshfs_tuned(self, port):
        return self.sshfs(port, "-o", "Ciphers=aes128-gcm@openssh.com", "-o", "max_conns=4")

    def rclone(self, *options):
        folder = self.make_folder("rclone")
        env = clean_env(folder, RCLONE_CONFIG=os.path.join(folder, "none.conf"),
                        AWS_ACCESS_KEY_ID=self.rgw.access_key,
                        AWS_SECRET_ACCESS_KEY=self.rgw.secret_key)
        remote = f":s3,provider=Ceph,env_auth=true,endpoint='{self.rgw.endpoint}':{BUCKET}"
        return Mounted(folder, ["rclone", "mount", remote, "MNT", "--cache-dir",
                                os.path.join(folder, "cache"), *options], env=env)

    def rclone_full(self):
        return self.rclone("--vfs-cache-mode", "full")

    def s3fs(self):
        folder = self.make_folder("s3fs")
        secret = os.path.join(folder, "passwd")
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write(f"{self.rgw.access_key}:{self.rgw.secret_key}\n")
        return Mounted(folder, ["s3fs", BUCKET, "MNT", "-f", "-o", f"url={self.rgw.endpoint}",
                                "-o", "use_path_request_style", "-o", f"passwd_file={secret}"])

    def page_cache(self):
        return Local(self.folder)


class Local:
    """The limit: a file in the local page cache."""

    def __init__(self, folder):
        self.root = folder

    def close(self):
        pass


def read_file(name):
    def work(root):
        run("dd", f"if={root}/{name}", "of=/dev/null", "bs=1M", timeout=300)
    return work


def write_file(mib):
    def work(root):
        run("dd", "if=/dev/zero", f"of={root}/new/file", "bs=1M", f"count={mib}", "conv=fsync",
            timeout=300)
    return work


def copy_file(root):
    run("cp", f"{root}/1g", f"{root}/new/1g", timeout=300)


def unpack(archive):
    def work(root):
        run("tar", "-C", f"{root}/new", "-xf", archive, timeout=300)
    return work


def list_many(root):
    subprocess.run(["ls", "-l", f"{root}/many"], stdout=subprocess.DEVNULL, check=True, timeout=300)


def cat_small(root):
    subprocess.run(["sh", "-c", f"for f in {root}/small/*; do read -r x < $f || :; done"],
                   stdout=subprocess.DEVNULL, check=True, timeout=300)


def find_first(root):
    """Who mounts without a connection makes it now, as the others have made theirs before."""
    os.path.exists(os.path.join(root, "none"))


def lstat_many(root):
    script = ("import os, sys\n"
              "for i in range(int(sys.argv[1]), 20000, 16): os.lstat(f'{sys.argv[2]}/f{i:05}')")
    children = [subprocess.Popen([sys.executable, "-c", script, str(n), f"{root}/many"])
                for n in range(16)]
    if any(child.wait(300) for child in children):
        raise RuntimeError("lstat failed")


def read_by_many(root):
    path = os.path.join(root, MODEL) if os.path.isdir(os.path.join(root, "performance")) \
        else os.path.join(root, "model.zip")

    def one(_):
        with open(path, "rb", buffering=0) as f:
            total = 0
            while block := f.read(MIB):
                total += len(block)
        return total

    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        if any(total != MODEL_BYTES for total in pool.map(one, range(READERS))):
            raise RuntimeError("short read")


def read_by_one(root):
    with open(os.path.join(root, MODEL), "rb", buffering=0) as f:
        while f.read(MIB):
            pass


def cases(b):
    near, far = b.sshd.port, b.far.port
    hosts = {"scoutfs": lambda: b.host_scoutfs(near), "sshfs": lambda: b.sshfs(near),
             "sshfs tuned": lambda: b.sshfs_tuned(near)}
    away = {"scoutfs": lambda: b.host_scoutfs(far), "sshfs": lambda: b.sshfs(far),
            "sshfs tuned": lambda: b.sshfs_tuned(far)}
    models = {"scoutfs": b.models_scoutfs, "rclone": b.rclone, "rclone full": b.rclone_full,
              "s3fs": b.s3fs}
    return [
        ("host: read 1 GiB", hosts, read_file("1g")),
        ("host: read 25 MiB, rtt 50", away, read_file("25m")),
        ("host: write 512 MiB, fsync", hosts, write_file(512)),
        ("host: write 25 MiB, fsync, rtt 50", away, write_file(25)),
        ("host: cp of 1 GiB beside itself", hosts, copy_file),
        ("host: tar x of 500 files", hosts, unpack(b.archive)),
        ("host: tar x of 10 files, rtt 50", away, unpack(b.few)),
        ("host: ls -l of 20,000", hosts, list_many),
        ("host: 20,000 lstat, 16 processes", hosts, lstat_many),
        ("host: 2,000 small files in turn", hosts, cat_small),
        ("models: 1 reader of 24.8 MB", models, read_by_one),
        ("models: 100 readers of 24.8 MB", {**models, "page cache": b.page_cache}, read_by_many),
    ]


def measure(b, contestant, work):
    b.clear()
    mount = contestant()
    try:
        find_first(mount.root)
        start = time.monotonic()
        work(mount.root)
        return time.monotonic() - start
    finally:
        mount.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    # in memory: the servers' disk is not what is measured
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="scoutfs-bench-", dir=shm)
    results = {}
    try:
        with Bench(os.path.abspath(args.binary), folder) as b:
            for name, contestants, work in cases(b):
                if args.only not in name:
                    continue
                times = {who: [] for who in contestants}
                for _ in range(args.rounds):
                    for who, contestant in contestants.items():
                        times[who].append(measure(b, contestant, work))
                results[name] = times
                show(name, times)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out = os.path.join(HERE, "results", datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S.json"))
    os.makedirs(os.path.dirname(out), exist_ok=True)
    with open(out, "w", encoding="utf-8") as f:
        json.dump({"cpus": os.cpu_count(), "seconds": results}, f, indent=1)
    print("raw numbers:", os.path.relpath(out))


def show(name, times):
    ours = statistics.median(times["scoutfs"])
    print(f"\n{name}")
    for who, seconds in times.items():
        median = statistics.median(seconds)
        print(f"  {who:12} {median:8.3f} s  ({min(seconds):.3f} to {max(seconds):.3f})"
              f"  {median / ours:5.2f}", flush=True)


if __name__ == "__main__":
    main()
