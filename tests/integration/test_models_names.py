"""Names of a registry that is written to, and of keys that are no names: what is shown, opened, removed."""

import os
import subprocess

import pytest

from tools import write

NO_HOSTS = "[hosts]\nssh_config =\n"
FEW_AT_ONCE = {"list_max_keys": 12}  # then folders are listed one by one


def keys(rgw, bucket):
    return [o["Key"] for o in rgw.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def rm_r(path):
    return subprocess.run(["rm", "-r", path], capture_output=True, text=True, check=False, timeout=100)


@pytest.mark.parametrize("more", [{}, FEW_AT_ONCE], ids=["all", "by-folder"])
def test_rm_r(rgw, bucket, mount, more):
    """rm has looked at the folder a moment before, when something was in it."""
    for i in range(20):
        rgw.put(bucket, f"m{i}/v/x", b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", delete="yes", **more))
    for i in range(20):
        done = rm_r(m.model(f"m{i}", "v"))
        assert (done.returncode, done.stderr) == (0, "")
    assert keys(rgw, bucket) == []
