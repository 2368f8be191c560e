"""The bench itself: that it measures, writes down what it found, and leaves nothing behind."""

import glob
import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from mount import BINARY, SLOWER, TOP, clean_env, command
from procs import family, parents, wait_for

RUN = os.path.join(TOP, "bench", "run.py")


@pytest.fixture
def bench(folder):
    """bench(arguments…) starts it; what is left of it after the test is ended in its own orderly way."""
    runs = []

    def start(*args, **more):
        argv = [*command()[:-1], sys.executable, RUN, "--quick", "--on", "scoutfs", "--out", str(folder), *args,
                BINARY]
        runs.append(subprocess.Popen(argv, env=clean_env(folder, PYTHONDONTWRITEBYTECODE="1"),
                                     stdin=subprocess.DEVNULL, text=True, **more))
        return runs[0]
    yield start
    for run in runs:
        if run.poll() is None:
            run.terminate()
            run.wait(60)


def test_a_case_is_measured_written_down_and_drawn(folder, bench):
    run = bench("--rounds", "1", "--only", "host: read 16 MiB", stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
    said = run.communicate(timeout=200)[0]
    assert run.returncode == 0, said
    with open(glob.glob(os.path.join(folder, "*.json"))[0], encoding="utf-8") as f:
        case = json.load(f)["cases"][0]
    ours = case["results"]["scoutfs"]
    assert ours["median"] > 0 and ours["peak_mib"] > 0 and "cpu_s_per_gb" in ours and len(ours["values"]) == 1
    with open(glob.glob(os.path.join(folder, "*.md"))[0], encoding="utf-8") as f:
        table = f.read()
    assert f"| {case['name']} | scoutfs | " in table
    assert table.splitlines()[-1] in said
    if importlib.util.find_spec("matplotlib"):
        assert glob.glob(os.path.join(folder, "*-throughput.svg")), said
    else:
        assert "no plots" in said


ORPHANS = """
import os, subprocess, time
import process_table
process_table.adopt()
subprocess.run(["sh", "-c", "setsid -f true; setsid -f sh -c true"], check=True)
while any(parent == os.getpid() for _, _, parent, _ in process_table.stats()):
    time.sleep(0.01)
    process_table.bury()
"""


def test_what_ended_is_buried():
    """Also what led a session, as sshd does for each connection."""
    subprocess.run([sys.executable, "-c", ORPHANS], env={**os.environ, "PYTHONPATH": os.path.dirname(RUN)},
                   timeout=20 * SLOWER, check=True)


def test_ctrl_c_leaves_nothing_behind(bench):
    run = bench("--rounds", "100000", "--only", "host: ls -l of", stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE)

    def daemon():
        for pid in family(run.pid):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                    argv = f.read().split("\0")
            except OSError:
                continue
            if argv[0] == BINARY and argv[-2:] == ["-f", ""]:
                return argv
        return run.poll() is not None

    argv = wait_for(daemon, 20 * SLOWER, "a mount")
    assert argv is not True, run.stderr.read()
    started = family(run.pid)
    for _ in range(5):  # Python loses one that comes while it frees something
        run.send_signal(signal.SIGINT)
        try:
            said = run.communicate(timeout=20)[1]
            break
        except subprocess.TimeoutExpired:
            pass
    assert run.returncode == 130 and "interrupted" in said, said
    alive = parents()
    assert not [pid for pid in started if pid in alive], said
    files = os.path.dirname(os.path.dirname(argv[1]))
    assert os.path.basename(files).startswith("scoutfs-bench-"), shlex.join(argv)
    assert not os.path.exists(files)


PERF = """#!/bin/sh
if [ "$1" = report ]; then
	echo "    50.00%  scoutfs"
	exit 0
fi
while [ $# -gt 0 ] && [ "$1" != true ] && [ "$1" != sleep ]; do
	shift
done
exec env --default-signal=INT "$@"
"""
BENCH = """#!/bin/sh
case $1 in
*/run.py)
	while [ "$1" != --out ]; do
		shift
	done
	mkdir -p "$2"
	echo '{"cases": [{"name": "host: all", "results": {"scoutfs": {"spans": [[1, 2]]}}}]}' >"$2/run.json"
	exit STATUS
	;;
esac
exec PYTHON "$@"
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_profile_of_the_machine_ends_as_the_bench_does(folder, status):
    """And leaves nothing behind: its recorder has ended by then."""
    for name in ("bench", "build", "tmp"):
        os.mkdir(os.path.join(folder, name))
    shutil.copy(os.path.join(TOP, "bench", "profile.sh"), os.path.join(folder, "bench"))
    for name, text in (("perf", PERF), ("python", BENCH)):
        path = os.path.join(folder, "bench", name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace("STATUS", str(status)).replace("PYTHON", sys.executable))
        os.chmod(path, 0o755)
    env = dict(os.environ, TMPDIR=os.path.join(folder, "tmp"), PYTHON=os.path.join(folder, "bench", "python"),
               PATH=os.path.join(folder, "bench") + ":" + os.environ["PATH"])
    done = subprocess.run(["sh", os.path.join(folder, "bench", "profile.sh"), "machine", "all",
                           os.path.join(folder, "build")], env=env, capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert os.listdir(os.path.join(folder, "tmp")) == []
    with open(glob.glob(os.path.join(folder, "bench", "results", "*-machine.txt"))[0], encoding="utf-8") as f:
        assert f.read() == "host: all\n\n    50.00%  scoutfs\n"
