"""Uploads that failed, at a server that does not take their ABORT either: it gets it again soon."""

import os
import re
import signal
import subprocess
import sys

import pytest

from mount import SLOWER
from procs import wait_for
from proxy import Answer
from test_models_publish import NO_HOSTS, PART, ini, keys, uploads
from tools import content, error, timed


class Faults:
    """Parts fail, and so do so many requests that abort."""

    def __init__(self, aborts, **answer):
        self.aborts, self.answer, self.parts = aborts, answer, True

    def __call__(self, request):
        if self.parts and re.search("partNumber=2", request.target):
            return Answer(status=500)
        if request.method == "DELETE" and "uploadId" in request.query and self.aborts > 0:
            self.aborts -= 1
            return Answer(**self.answer)
        return None


def fail_to_publish(m, name="model.zip"):
    """The close's error, and how long it took."""
    fd = os.open(m.model("a", name), os.O_WRONLY | os.O_CREAT)
    os.write(fd, content(2 * PART))
    return timed(error, os.close, fd)


@pytest.mark.parametrize("answer", [{"status": 503, "code": "SlowDown"}, {"lose": True},
                                    {"stall": True}])
def test_it_is_sent_again(rgw, bucket, mount, http_proxy, answer):
    """The close waits for the first one only, and the name is free at once."""
    faults = Faults(2, **answer)
    s3 = http_proxy(rgw.port, faults)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_attempts=2, timeout="1s"))
    os.mkdir(m.model("a"))
    word, seconds = fail_to_publish(m)
    assert word == "EIO" and seconds < 15 * SLOWER
    if "lose" not in answer:
        assert len(uploads(rgw, bucket)) == 1
        assert "unended    a/model.zip, begun " in m.status()
    faults.parts = False
    with open(m.model("a", "model.zip"), "wb") as f:
        f.write(b"the next one")
    wait_for(lambda: uploads(rgw, bucket) == [], 15 * SLOWER, "the abort")
    wait_for(lambda: "unended" not in m.status(), 15 * SLOWER, "its answer")
    assert keys(rgw, bucket) == ["a/model.zip"]
    if "lose" not in answer:
        assert "aborted    1 that nobody ended" in m.status()
        assert "aborted the upload of a/model.zip at last" in m.log()


def test_a_writer_that_is_killed(rgw, bucket, mount, http_proxy):
    s3 = http_proxy(rgw.port, Faults(3, status=503))
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_attempts=1))
    os.mkdir(m.model("a"))
    writer = subprocess.Popen(
        [sys.executable, "-c", "import os, sys, time; fd = os.open(sys.argv[1], 65); "
         "os.write(fd, bytes(6 << 20)); print('written', flush=True); time.sleep(100)",
         m.model("a", "model.zip")], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "written\n"
    wait_for(lambda: len(uploads(rgw, bucket)) == 1, 20, "an upload")
    writer.send_signal(signal.SIGKILL)
    writer.wait(20)
    wait_for(lambda: "aborted    1 that nobody ended" in m.status(), 40 * SLOWER, "the abort")
    assert uploads(rgw, bucket) == keys(rgw, bucket) == []
    assert len(s3.sent("DELETE", "uploadId")) == 4


def test_the_mount_ends_before(rgw, bucket, mount, http_proxy):
    """What waits to be sent again does not hold it up, and is shown by the next mount."""
    faults = Faults(10**9, status=503)
    s3 = http_proxy(rgw.port, faults)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_attempts=1))
    os.mkdir(m.model("a"))
    assert fail_to_publish(m)[0] == "EIO"
    m.unmount()
    faults.aborts = 0
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port))
    wait_for(lambda: "unended    a/model.zip, begun " in m.status(), 20, "the list")
