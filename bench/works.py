"""What is done, for whoever: each function returns a work(contestant), which returns when it is done."""

import json
import subprocess
import sys
import tempfile
import time

from contestants import LIMIT

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


START = """
import os, sys
mine, count, root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
print("ready", flush=True)
sys.stdin.read()
"""


def by_processes(count, script):
    """Runs Python's script in so many processes at once: mine is which of count it is, root the contestant's
    folder. Measured from when they all are there."""
    def work(c):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children = [subprocess.Popen([sys.executable, "-S", "-c", START + script, str(i), str(count), c.root], **pipes)
                    for i in range(count)]
        try:
            for child in children:
                child.stdout.readline()
            start = time.monotonic()
            for child in children:
                child.stdin.close()
            for child in children:
                if child.wait(LIMIT):
                    raise RuntimeError(child.stderr.read()[-200:])
            seconds = time.monotonic() - start
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"over {LIMIT} s") from None
        finally:
            for child in children:
                child.kill()
                child.stdout.close()
                child.stderr.close()
            strays.extend(children)
        return {"value": seconds, "seconds": seconds}
    return work


READ_EACH = """
import json, os, sys, time
samples = []
for i in range(int(sys.argv[2])):
    start = time.perf_counter()
    file = os.open(f"{sys.argv[1]}/f{i:05}", os.O_RDONLY)
    got = len(os.read(file, 1 << 20))
    os.close(file)
    samples.append((time.perf_counter() - start) * 1000)
    if got != int(sys.argv[3]):
        sys.exit(f"f{i:05}: {got} bytes")
print(json.dumps(samples))
"""


def each_read(folder, count, size, p95=False):
    """Reads f00000… of size bytes in turn, with the milliseconds of each as samples. Measured is all, or the p95."""
    def work(c):
        with tempfile.TemporaryFile("w+") as out:
            do(sys.executable, "-S", "-c", READ_EACH, f"{c.root}/{folder}", str(count), str(size), stdout=out)
            out.seek(0)
            samples = json.load(out)
        ordered = sorted(samples)
        found = {"samples": samples, "p95": ordered[count * 95 // 100], "p99": ordered[count * 99 // 100]}
        return {**found, "value": found["p95"]} if p95 else found
    return work
