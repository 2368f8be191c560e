#!/usr/bin/python3
"""Runs what was built and counts: the last line is "N passed, N failed, N skipped".

usage: run.py check|test BUILD [SANITIZERS]
check is lint, unit tests and fuzz corpora; test is these and the integration tests.
"""

import glob
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNIT_SECONDS = 120


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed=0, failed=0, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped


def heading(words):
    print(f"\n== {words}", flush=True)


def run_program(argv, san):
    """(exit status, output); a program that does not end is killed."""
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    for name, supp in (("TSAN_OPTIONS", "tsan.supp"), ("LSAN_OPTIONS", "lsan.supp")):
        path = os.path.join(TOP, "tests", supp)
        if os.path.exists(path):
            env[name] = f"suppressions={path}"
    if "thread" in san:
        argv = ["setarch", "-R", *argv]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=env,
                              stderr=subprocess.STDOUT, timeout=UNIT_SECONDS, check=False)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        return "timeout", (e.stdout or b"").decode(errors="replace")
    except OSError as e:
        return "not built", str(e)


def lint(count, build):
    heading("lint")
    _, output = run_program([sys.executable, "tests/lint.py", build], "")
    print(output, end="")
    passed = len(re.findall(r"^ok ", output, re.M))
    failed = len(re.findall(r"^not ok ", output, re.M))
    count.add(passed, failed if passed or failed else 1)


def unit(count, build, san):
    heading("unit tests")
    sources = sorted(glob.glob("tests/unit/*/test_*.c"))
    if not sources:
        print("no unit tests found")
        count.add(failed=1)
    for source in sources:
        name = source[len("tests/unit/"):-len(".c")]
        started = time.monotonic()
        status, output = run_program([os.path.join(build, "unit", name)], san)
        passed = len(re.findall(r"^ok \d+", output, re.M)) - len(re.findall(r"# SKIP", output))
        failed = len(re.findall(r"^not ok \d+", output, re.M))
        skipped = len(re.findall(r"# SKIP", output))
        if failed == 0 and (status != 0 or passed + skipped == 0):
            failed = 1  # it crashed, hung, or reports a leak
        count.add(passed, failed, skipped)
        print(f"{'not ok' if failed else 'ok'} {name}: {passed} passed, {failed} failed, "
              f"{time.monotonic() - started:.2f} s", flush=True)
        if failed:
            print(f"exit status {status}\n{output}")


def corpora(count, build, san):
    heading("fuzz corpora")
    targets = sorted(glob.glob("tests/fuzz/fuzz_*.c"))
    if not targets:
        print("no fuzz targets found")
        count.add(failed=1)
    for source in targets:
        name = os.path.basename(source)[len("fuzz_"):-len(".c")]
        status, output = run_program([os.path.join(build, "fuzz", name),
                                      f"tests/fuzz/corpus/{name}"], san)
        count.add(passed=status == 0, failed=status != 0)
        print(f"{'ok' if status == 0 else 'not ok'} {name}: {output.strip().rpartition(chr(10))[2]}")
        if status != 0:
            print(f"exit status {status}\n{output[-3000:]}")


def integration(count, build, san):
    heading("integration tests")
    report = os.path.abspath(os.path.join(build, "integration.xml"))
    if os.path.exists(report):
        os.unlink(report)
    env = dict(os.environ, SCOUTFS_BIN=os.path.abspath(os.path.join(build, "scoutfs")),
               SCOUTFS_SAN=san, PYTHONDONTWRITEBYTECODE="1")
    argv = [sys.executable, "-m", "pytest", "-q", "-ra", "--tb=short", "--durations=8",
            "-c", "tests/integration/pytest.ini", f"--junitxml={report}", "tests/integration"]
    status = subprocess.run(argv, stdin=subprocess.DEVNULL, env=env, check=False).returncode
    try:
        suites = xml.etree.ElementTree.parse(report).getroot().iter("testsuite")
        total, bad, skipped = 0, 0, 0
        for suite in suites:
            total += int(suite.get("tests"))
            bad += int(suite.get("failures")) + int(suite.get("errors"))
            skipped += int(suite.get("skipped"))
        count.add(total - bad - skipped, bad, skipped)
        if status != 0 and bad == 0:
            count.add(failed=1)
    except (OSError, xml.etree.ElementTree.ParseError) as e:
        print(f"no report: {e}")
        count.add(failed=1)


def main():
    what, build = sys.argv[1], sys.argv[2]
    san = sys.argv[3] if len(sys.argv) > 3 else ""
    os.chdir(TOP)
    count = Count()
    started = time.monotonic()
    lint(count, build)
    unit(count, build, san)
    corpora(count, build, san)
    if what == "test":
        integration(count, build, san)
    print(f"\n{time.monotonic() - started:.0f} s" + (f" with {san}" if san else ""))
    print(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped", flush=True)
    return 1 if count.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
