"""The daemon at work: its ini, its mount, its log, and a clean end.

A sanitizer's report, an exit status other than 0, a mount or a process left behind fail the test.
"""

import glob
import os
import re
import shutil
import signal
import subprocess

from procs import end, family, parents, run, tool, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
SAN = os.environ.get("SCOUTFS_SAN", "")
BINARY = os.environ.get("SCOUTFS_BIN", os.path.join(TOP, "build", "scoutfs"))
SLOWER = 5 if SAN else 1  # how much more time a sanitizer may take
MIB = 1024 * 1024
SLACK = 12 * MIB  # stacks, requests, what the heap keeps: 4 MiB where 100 read at once


def clean_env(home, **more):
    """An environment in which nothing of the user's configuration is seen."""
    keep = ("PATH", "LANG", "TMPDIR", "USER", "LOGNAME")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    env["PATH"] = env.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    env["HOME"] = str(home)
    env["AWS_EC2_METADATA_DISABLED"] = "true"  # nothing outside of this machine is asked
    env.update(more)
    return env


def sanitizer_env(folder):
    def options(*words, supp=None):
        path = os.path.join(TOP, "tests", supp or "")
        known = [f"suppressions={path}"] if supp and os.path.exists(path) else []
        return ":".join([f"log_path={folder}/sanitizer", *words, *known])

    if not SAN:
        return {}
    return {"ASAN_OPTIONS": options("detect_leaks=1", "exitcode=99"),
            "LSAN_OPTIONS": options("print_suppressions=0", supp="lsan.supp"),
            "UBSAN_OPTIONS": options("print_stacktrace=1"),
            "TSAN_OPTIONS": options("exitcode=99", "second_deadlock_stack=1", supp="tsan.supp")}


def command(*args):
    """The daemon's argv; ThreadSanitizer cannot live with all of the kernel's randomisation."""
    prefix = [tool("setarch"), "-R"] if "thread" in SAN else []
    return [*prefix, BINARY, *map(str, args)]


def mounted(path):
    path = os.path.realpath(os.path.dirname(path)) + "/" + os.path.basename(path)
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as f:
        points = [line.split(" ")[1] for line in f]
    return path in (re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), p) for p in points)


class Mount:
    def __init__(self, folder, ini, options=(), env=None):
        self.folder = str(folder)
        self.options = list(options)
        self.point = os.path.join(self.folder, "mnt")
        self.ini_path = os.path.join(self.folder, "scoutfs.ini")
        self.log_path = os.path.join(self.folder, "scoutfs.log")
        self.home = os.path.join(self.folder, "home")
        self.env = clean_env(self.home, **sanitizer_env(self.folder), **(env or {}))
        self.process = None
        self.expect_crash = False
        os.makedirs(self.point)
        os.makedirs(self.home)
        self.write_ini(ini)

    def write_ini(self, ini):
        with open(os.open(self.ini_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as f:
            f.write(ini)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command(self.ini_path, self.point, "-f", *self.options), env=self.env,
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        wait_for(lambda: mounted(self.point) or self.process.poll() is not None,
                 30 * SLOWER, "the mount")
        assert self.process.poll() is None, "scoutfs ended:\n" + self.log()
        return self

    def path(self, *parts):
        return os.path.join(self.point, *parts)

    def host(self, name, *parts):
        return self.path("hosts", name, *parts)

    def model(self, *parts):
        return self.path("models", *parts)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def status(self):
        with open(self.path(".scoutfs", "status"), encoding="utf-8") as f:
            return f.read()

    def metrics(self):
        """[(name, {label: value}, number)…] of .scoutfs/metrics."""
        with open(self.path(".scoutfs", "metrics"), encoding="utf-8") as f:
            text = f.read()
        found = []
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, number = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
                pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
                found.append((name, dict(pairs), float(number)))
        return found

    def metric(self, name, **labels):
        """The sum over all series of that name which carry these labels; they must exist."""
        values = [number for found, having, number in self.metrics()
                  if found == name and labels.items() <= having.items()]
        assert values, f"no metric {name} {labels}"
        return sum(values)

    def peak_memory(self):
        """The most resident memory it ever had, in bytes."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1]) * 1024

    def assert_grown_within(self, idle, memory, beside=0):
        """Since its peak was idle it took no more than that for its buffers."""
        grown = self.peak_memory() - idle
        if not SAN:  # which needs memory of its own
            assert grown < memory + beside + SLACK, f"{grown / MIB:.1f} MiB"

    def abort(self):
        """Whatever hangs on the mount gets ENOTCONN."""
        if self.process and self.process.poll() is None:
            self.process.kill()

    def ended_within(self, seconds):
        try:
            self.process.wait(seconds * SLOWER)
            return True
        except subprocess.TimeoutExpired:
            return False

    def unmount(self, by="fusermount3"):
        """Ends it in an orderly way and checks that nothing is left."""
        if self.process is None:
            return
        process = self.process
        if process.poll() is None:
            pids = family(process.pid)
            self.settle()
            if by == "fusermount3":
                run(tool("fusermount3"), "-u", self.point, timeout=20)
            else:
                process.send_signal(by)
            assert self.ended_within(10), f"scoutfs lives on after {by}:\n" + self.log()[-4000:]
            left = [pid for pid in pids if pid in parents()]
            assert not left, f"processes left behind: {left}"
        self.process = None
        assert not mounted(self.point), "still mounted"
        self.check_sanitizers()
        assert process.returncode == 0 or self.expect_crash, \
            f"exit status {process.returncode}:\n" + self.log()[-4000:]

    def settle(self):
        """For LeakSanitizer: libfuse 3.14 keeps an INTERRUPT that crossed its call's answer until the next
        request, each request ends one of them, and those that are left at the end are never freed."""
        for _ in range(16 if SAN else 0):
            try:
                os.statvfs(self.point)
            except OSError:  # the mount is gone: the test saw to that
                return

    def check_sanitizers(self):
        reports = ""
        for path in glob.glob(os.path.join(glob.escape(self.folder), "sanitizer.*")):
            with open(path, encoding="utf-8", errors="replace") as f:
                reports += f.read()
            os.unlink(path)
        assert not reports, reports[:20000]

    def clean_up(self):
        """The end for certain, whatever the test came to; unmount() is the end that is tested."""
        if self.process is not None:
            end(self.process)
            self.process = None
        if mounted(self.point):
            run(tool("fusermount3"), "-uz", self.point, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
