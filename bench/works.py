"""What is done, for whoever: each function returns a work(contestant), which returns when it is done."""

import concurrent.futures
import os
import subprocess
import sys
import time

from contestants import LIMIT

MIB = 1 << 20
strays = []  # killed, but held by a file system until that ends


def do(*command, limit=LIMIT, **more):
    """Runs a program to its end. Its output is thrown away; RuntimeError when it fails or takes too long."""
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **more}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", **more)
    try:
        said = process.communicate(timeout=limit)[1] or ""
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{command[0]}: over {limit} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            strays.append(process)
    if process.returncode:
        raise RuntimeError(f"{command[0]}: status {process.returncode}: {said[-200:]}")


def reap():
    """Once the mounts are gone."""
    while strays:
        strays.pop().wait(30)


def program(*command, **more):
    """ROOT in a word is the contestant's."""
    return lambda c: do(*(word.replace("ROOT", c.root) for word in command), **more)


def shell(script):
    return program("sh", "-c", script.replace("ROOT", "$1"), "sh", "ROOT")


def read(name):
    return program("dd", f"if=ROOT/{name}", "of=/dev/null", "bs=1M")


def write(mib):
    return program("dd", "if=/dev/zero", "of=ROOT/new/file", "bs=1M", f"count={mib}", "conv=fsync")


def by_processes(count, script):
    """Runs Python's script in so many processes at once; sys.argv is their number, count and root."""
    def work(c):
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            runs = [pool.submit(do, sys.executable, "-S", "-c", "import os, sys\n"
                                "mine, count, root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]\n" + script,
                                str(i), str(count), c.root) for i in range(count)]
            for run in runs:
                run.result()
    return work


def read_whole(path, expected=None):
    """Reads a file in this process, past Python's buffers. Returns its size."""
    total = 0
    with open(path, "rb", buffering=0) as f:
        while block := f.read(MIB):
            total += len(block)
    if expected is not None and total != expected:
        raise RuntimeError(f"{path}: {total} bytes, not {expected}")
    return total


def each_timed(paths, function):
    """{"value": ms that the 95th of 100 calls took, "samples": [ms…]} of function(path) in turn."""
    samples = []
    for path in paths:
        start = time.perf_counter()
        function(path)
        samples.append((time.perf_counter() - start) * 1000)
    return latencies(samples)


def latencies(samples):
    samples = sorted(samples)
    return {"value": samples[min(len(samples) * 95 // 100, len(samples) - 1)], "samples": samples,
            "median ms": round(samples[len(samples) // 2], 3), "p99 ms": round(
                samples[min(len(samples) * 99 // 100, len(samples) - 1)], 3)}


def lists(folder, count):
    """A check: os.listdir sees as many."""
    found = len(os.listdir(folder))
    if found != count:
        raise RuntimeError(f"{folder}: {found} names, not {count}")
