"""What everyday work costs of the registry, counted: requests to S3 by kind, and round trips of the link.

As test_counted.py for hosts: a proxy before the gateway counts the requests, one before that the round trips.
"""

import collections
import io
import os
import zipfile

import pytest

from mount import SLOWER
from procs import wait_for
from test_counted import command, hold
from tools import MIB, content, sha256, together, write

NO_HOSTS = "[hosts]\nssh_config =\n"
RTT = 0.06  # above what a program thinks between two requests, and so long that no answer is shared by who comes later
MODEL_BYTES = 24834009
pytestmark = [pytest.mark.seconds(120)]


def kind(request):
    """LIST of keys or of uploads, else the method."""
    lists = request.method == "GET" and {"list-type=2", "uploads="} & set(request.query.split("&"))
    return "LIST" if lists else request.method


class Counted:
    """A mount whose link's requests and round trips are counted; the folder m lies in it."""

    def __init__(self, s3, link, m):
        self.s3, self.link, self.m = s3, link, m

    def path(self, *parts):
        return self.m.model("m", "main", *parts)

    def idle(self):
        wait_for(lambda: self.m.metric("scoutfs_s3_active") == 0, 20 * SLOWER, "the last answers")

    def count(self, work):
        """(requests by kind, round trips)"""
        self.idle()
        self.s3.reset_counts()
        self.link.reset_counts()
        work()
        self.idle()
        return collections.Counter(map(kind, self.s3.requests)), self.link.round_trips


@pytest.fixture
def counted(rgw, bucket, mount, http_proxy, proxy):
    """counted() mounts anew; what of m is there has been listed, unless fresh."""
    s3 = http_proxy(rgw.port)
    link = proxy(s3.port)
    link.rtt = RTT

    def start(fresh=False, **more):
        for one in start.mounts:
            one.unmount()
        m = mount(NO_HOSTS, rgw.ini(bucket, link.port, **more))
        start.mounts = [m]
        if more.get("read_only") == "no":
            wait_for(lambda: any("uploads" in r.query and r.ended for r in s3.requests), 20,
                     "the look at what a crash left")
        if not fresh:
            os.listdir(m.model())
        return Counted(s3, link, m)

    start.mounts = []
    return start


def test_ls_lr(rgw, bucket, counted):
    together([lambda k=k: [rgw.put(bucket, f"id-{n:03}/main/{name}", b"x") for n in range(k, 500, 8)
                           for name in ("README.md", "config.json", "model.zip")] for k in range(8)])
    c = counted(fresh=True)

    def ls():
        return command("ls", "-lR", c.m.model())

    hold("models: `ls -lR` of 500, of three objects each", c.count(ls))
    assert c.count(ls) == (collections.Counter(), 0), "the listing is asked for again"


def test_a_small_file(rgw, bucket, counted):
    for key in ("a/main/model.zip", "m/main/README.md", "m/main/config.json", "m/main/model.zip", "z"):
        rgw.put(bucket, key, b"{}".ljust(5000))
    c = counted(fresh=True)

    def cat():
        assert command("cat", c.path("config.json")) == "{}".ljust(5000)

    hold("models: `cat` of 5 KB, of which nothing is known yet", c.count(cat))
    c = counted()
    hold("models: `cat` of 5 KB that `ls` has listed; again: HEAD 1", c.count(cat))
    again, _ = c.count(cat)
    assert +again in (collections.Counter(), collections.Counter(HEAD=1)), "its bytes are not asked for again"


def test_a_model(rgw, bucket, counted):
    data = content(MODEL_BYTES)
    rgw.put(bucket, "m/main/model.zip", data)
    for readers, words in ((1, "one reads"), (10, "ten at once read")):
        c = counted()
        sums = []
        hold(f"models: {words} all of 24.8 MB", c.count(lambda n=readers: sums.extend(
            together([lambda: command("sha256sum", c.path("model.zip"))] * n))))
        assert {one.split()[0] for one in sums} == {sha256(data)}
        assert c.s3.body_bytes() == MODEL_BYTES
    c = counted()

    def end():
        with open(c.path("model.zip"), "rb", buffering=0) as f:
            f.seek(-65536, os.SEEK_END)
            assert f.read() == data[-65536:]

    hold("models: the last 64 KiB of 24.8 MB", c.count(end))
    assert c.s3.body_bytes() <= MIB + (256 << 10), c.s3.gets()


def test_a_member_of_a_zip(rgw, bucket, counted):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
        z.writestr("config.json", "{}".ljust(5000))
        z.writestr("weights.bin", content(40 * MIB))
    rgw.put(bucket, "m/main/model.zip", out.getvalue())
    c = counted()
    hold("models: `cat model.zip.d/config.json` of 40 MiB: 0.5 MiB",
         c.count(lambda: command("cat", c.path("model.zip.d", "config.json"))))
    assert c.s3.body_bytes() <= 530_000, c.s3.gets()


def test_attributes(rgw, bucket, counted):
    rgw.client().put_object(Bucket=bucket, Key="m/main/model.zip", Body=b"x", Metadata={"author": "me"})
    c = counted()
    path = c.path("model.zip")
    hold("models: `getfattr -d -m -` of an object",
         c.count(lambda: [os.getxattr(path, name) for name in os.listxattr(path)]))


def test_publishing(rgw, bucket, counted, folder):
    rgw.put(bucket, "m/main/old", b"x")

    def cp(size, name, words, **more):
        c = counted(read_only="no", **more)
        local = write(os.path.join(folder, "local"), content(size))
        hold(f"models: `cp` of {words}", c.count(lambda: command("cp", local, c.path(name))))

    cp(10, "a", "10 bytes")
    cp(5 * MIB + 1, "b", "5 MiB and a byte, `part_size = 5M`", part_size="5M")
    cp(MODEL_BYTES, "c", "24.8 MB")
    c = counted(read_only="no", delete="yes")
    hold("models: `mkdir`", c.count(lambda: os.mkdir(c.m.model("new"))))
    hold("models: `rm` of an object", c.count(lambda: command("rm", c.path("old"))))
    sizes = {o["Key"]: o["Size"] for o in rgw.client().list_objects_v2(Bucket=bucket)["Contents"]}
    assert sizes == {"m/main/a": 10, "m/main/b": 5 * MIB + 1, "m/main/c": MODEL_BYTES}
