"""The basic tests once more, as a user without any rights, through the setuid fusermount3."""

import os
import pwd
import shutil
import subprocess
import sys

import pytest

from mount import BINARY, HERE, SAN, TOP
from procs import OPEN_FUSE, own_mounts, tool


@pytest.mark.seconds(300)
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="this whole run has no rights already")
def test_basic_tests_without_rights(folder):
    # not nobody, whom systemd tells sshd to be locked
    user = pwd.getpwnam("daemon")
    # the checkout may lie where others cannot go
    bare = os.path.join(folder, "bare")
    shutil.copytree(HERE, os.path.join(bare, "tests", "integration"))
    shutil.copytree(os.path.join(TOP, "bench"), os.path.join(bare, "bench"),  # whose modules its tests import
                    ignore=shutil.ignore_patterns("results", "__pycache__"))
    for name in ("lsan.supp", "tsan.supp"):
        if os.path.exists(os.path.join(TOP, "tests", name)):
            shutil.copy(os.path.join(TOP, "tests", name), os.path.join(bare, "tests"))
    shutil.copy(BINARY, os.path.join(bare, "scoutfs"))
    home, device = os.path.join(folder, "home"), os.path.join(folder, "device")
    for path in (home, device):
        os.mkdir(path)
    os.chown(home, user.pw_uid, user.pw_gid)
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home, "USER": "daemon",
           "LOGNAME": "daemon", "TMPDIR": home, "SCOUTFS_BIN": os.path.join(bare, "scoutfs"),
           "SCOUTFS_SAN": SAN, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*own_mounts(), "sh", "-c", OPEN_FUSE, "sh", device,
         tool("setpriv"), f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
         sys.executable, "-m", "pytest", "-q", "--tb=short", "-m", "basic",
         "-c", "tests/integration/pytest.ini", "tests/integration"],
        cwd=bare, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=800, check=False)
    print(done.stdout)
    assert done.returncode == 0
    assert " passed" in done.stdout and "skipped" not in done.stdout
