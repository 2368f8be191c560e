"""What the tests ask of a mount, in words."""

import errno
import functools
import hashlib
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

MIB = 1 << 20


@functools.lru_cache(maxsize=32)
def content(size, seed=0):
    """Bytes that look the same nowhere, so that a misplaced block shows."""
    return random.Random(size * 1000 + seed).randbytes(size)


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)
    return path


def read(path):
    with open(path, "rb", buffering=0) as f:
        parts = []
        while part := f.read(MIB):
            parts.append(part)
        return b"".join(parts)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def error(function, *args):
    """The errno's name that function(*args) fails with, or "ok"."""
    try:
        function(*args)
        return "ok"
    except OSError as e:
        return errno.errorcode[e.errno]


def timed(function, *args):
    started = time.monotonic()
    result = function(*args)
    return result, time.monotonic() - started


def together(jobs):
    """Runs all the functions at the same time, each on a thread; their results in order."""
    jobs = list(jobs)
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [f.result() for f in [pool.submit(job) for job in jobs]]


class Background:
    """Functions that run while the test goes on; their results or exceptions are asked for later."""

    def __init__(self, jobs):
        jobs = list(jobs)
        self._pool = ThreadPoolExecutor(len(jobs))
        self.futures = [self._pool.submit(job) for job in jobs]
        self._pool.shutdown(wait=False)

    def running(self):
        return sum(not f.done() for f in self.futures)

    def results(self, timeout=60):
        return [f.result(timeout) for f in self.futures]


def python(source, *args, **more):
    """A Python process of its own, for what must not hang or be interrupted in this one."""
    return subprocess.Popen([sys.executable, "-c", source, *map(str, args)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **more)
