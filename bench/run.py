"""The same work on scoutfs and on what a user would pick instead, in turn, in one run.

usage: run.py [--rounds N] [--only WORD] [--on WHO] [--quick] [--out FOLDER] BINARY

Each round opens every contestant afresh (so nothing is cached), does the work, closes. The table shows
medians with their spread, and each one's ratio to scoutfs (over 1: scoutfs needs less); raw numbers, the
table and plots go to bench/results/<date>.{json,md} and <date>-<plot>.svg. The servers are the tests' own,
on loopback; "rtt 50" is 50 ms of round trip, made by bench/delay. How to add cases: suite.py.
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tests", "integration")]

import process_table  # noqa: E402
from measure import measure, summary  # noqa: E402
from plots import draw  # noqa: E402
from procs import hide_mounts  # noqa: E402
from servers import Servers  # noqa: E402
from table import markdown, rows  # noqa: E402

SUITES = (
    "cases_pool",
    "cases_hosts",
    "cases_many",
    "cases_day",
    "cases_registry",
)
PEERS = ("sshfs", "rclone", "s3fs", "ssh", "curl")


def version(program):
    try:
        words = [program, "-V"] if program == "ssh" else [program, "--version"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                              check=False)
        lines = (done.stdout or done.stderr).splitlines()
        # sshfs tells that of fusermount3 first
        return next((line for line in lines if line.lower().startswith(program)), lines[0])
    except (OSError, IndexError):
        return None


def program(who):
    """Of "sshfs, alone", "rclone full" or "ssh cat"."""
    return who.split(",")[0].split()[0]


def wanted(b, args):
    """The cases of all suites, in order, that have the word in their names; with who is installed, or on alone."""
    for suite in SUITES:
        for case in importlib.import_module(suite).cases(b):
            case.contestants = {who: opener for who, opener in case.contestants.items()
                                if b.installed.get(program(who), True) and args.on in ("", who)}
            if b.quick:
                case.target = {}  # it holds for whole sizes
            if args.only in case.name and case.contestants:
                yield case


def failures(cases):
    """(who, name of the case) of all that failed."""
    return [(who, case["name"]) for case in cases for who, result in case["results"].items() if "failed" in result]


def save_json(run, out):
    """So that what was measured is kept, however it ends."""
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, run["date"] + ".json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(run, f, indent=1)
    return path


def save(run, out):
    """Writes it down; the word of the files' names is the run's date."""
    base = os.path.join(out, run["date"])
    path = save_json(run, out)
    with open(base + ".md", "w", encoding="utf-8") as f:
        f.write(markdown(run))
    paths = [path, base + ".md", *draw(run["cases"], base)]
    print("\nwritten:", *(os.path.relpath(path) for path in paths))


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("--on", default="", metavar="CONTESTANT")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    return parser.parse_args()


def handle(action):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, action)


def main():
    args = options()
    handle(signal.default_int_handler)
    hide_mounts()
    process_table.adopt()
    versions = {name: version(name) for name in PEERS}
    missing = [name for name, told in versions.items() if not told]
    if missing:
        print("not installed, and left out:", *missing)
    run = {"date": datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S"), "cpus": os.cpu_count(),
           "kernel": platform.release(), "quick": args.quick,
           "versions": {**versions, "fio": version("fio"), "scoutfs": version(args.binary)},
           "rounds": args.rounds or (1 if args.quick else 5), "cases": []}
    b = Servers(args.binary, args.quick)
    b.installed = {name: bool(told) for name, told in versions.items()}
    try:
        for case in wanted(b, args):
            start = time.monotonic()
            run["cases"].append(summary(case, measure(b, case, run["rounds"])))
            run["cases"][-1]["took_s"] = round(time.monotonic() - start, 1)
            print(*rows(run["cases"][-1]), sep="\n", flush=True)
            save_json(run, args.out)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        run["interrupted"] = True
    finally:
        handle(signal.SIG_IGN)  # the end is not interrupted
        b.close()
        if run["cases"]:
            save(run, args.out)
    if not run["cases"]:
        print(f"no case: {args.only!r} is in none of their names, or came to an end too early")
    failed = failures(run["cases"])
    if failed:
        print("failed:", *(f"{who}: {name}" for who, name in failed), sep="\n  ")
    if "interrupted" in run:
        return 130
    # also where it is there to compare with ("scoutfs, alone")
    return 1 if not run["cases"] or any(program(who) == "scoutfs" for who, _ in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
