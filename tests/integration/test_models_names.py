"""Names of a registry that is written to, and of keys that are no names: what is shown, opened, removed."""

import io
import os
import subprocess
import threading
import zipfile

import pytest

from procs import wait_for
from proxy import Answer
from tools import content, error, read, write

NO_HOSTS = "[hosts]\nssh_config =\n"
BY_FOLDER = {"list_max_keys": 10}  # where keys are more, folders are listed one by one
both = pytest.mark.parametrize("more", [{}, BY_FOLDER], ids=["all", "by-folder"])


def keys(rgw, bucket):
    return [o["Key"] for o in rgw.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def fill(rgw, bucket):
    """More keys than those of BY_FOLDER."""
    for i in range(12):
        rgw.put(bucket, f"other/{i}", b"x")


def rm_r(path):
    return subprocess.run(["rm", "-r", path], capture_output=True, text=True, check=False, timeout=100)


@both
def test_rm_r(rgw, bucket, mount, more):
    """rm has looked at the folder a moment before, when something was in it."""
    for i in range(20):
        rgw.put(bucket, f"m{i}/v/x", b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", delete="yes", **more))
    for i in range(20):
        done = rm_r(m.model(f"m{i}", "v"))
        assert (done.returncode, done.stderr) == (0, "")
    assert keys(rgw, bucket) == []


@both
def test_folders_with_markers(rgw, bucket, mount, more):
    """Empty objects such as S3's console makes of folders: they go with the folder, and nothing else does."""
    fill(rgw, bucket)
    for key in ("a/", "a/v/", "a/v/x", "b/", "b/v/", "b/v/x"):
        rgw.put(bucket, key, b"")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", delete="yes", **more))
    assert error(os.rmdir, m.model("a")) == error(os.rmdir, m.model("a", "v")) == "ENOTEMPTY"
    done = rm_r(m.model("a"))
    assert (done.returncode, done.stderr) == (0, "")
    assert error(os.stat, m.model("a")) == "ENOENT"
    assert sorted(os.listdir(m.model())) == ["b", "other"]
    os.unlink(m.model("b", "v", "x"))
    assert os.listdir(m.model("b", "v")) == []
    assert error(os.rmdir, m.model("b")) == "ENOTEMPTY"
    os.rmdir(m.model("b", "v"))
    assert [key for key in keys(rgw, bucket) if not key.startswith("other/")] == ["b/"]
    assert error(os.stat, m.model("b", "v")) == "ENOENT" and os.listdir(m.model("b")) == []


def test_a_marker_is_an_object(rgw, bucket, mount):
    """Which stays without delete = yes."""
    rgw.put(bucket, "a/v/", b"")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no"))
    assert error(os.rmdir, m.model("a", "v")) == "EPERM"
    assert keys(rgw, bucket) == ["a/v/"]


@both
def test_another_removes_what_we_published(rgw, bucket, mount, more):
    fill(rgw, bucket)
    rgw.put(bucket, "a/old", b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", list_ttl="60s", **more))
    os.mkdir(m.model("b"))
    write(m.model("b", "x"), b"x")
    assert os.listdir(m.model("a")) == ["old"] and os.listdir(m.model("b")) == ["x"]
    for name in "xyz":
        write(m.model("a", name), b"x")
    assert sorted(os.listdir(m.model("a"))) == ["old", "x", "y", "z"]
    rgw.client().delete_object(Bucket=bucket, Key="a/x")
    assert error(read, m.model("a", "x")) == "ENOENT"  # who asks S3 hears of it
    assert sorted(os.listdir(m.model("a"))) == ["old", "y", "z"]
    for key in ("a/y", "b/x"):
        rgw.client().delete_object(Bucket=bucket, Key=key)
    os.utime(m.model())
    wait_for(lambda: sorted(os.listdir(m.model("a"))) == ["old", "z"], 5, "a younger listing")
    wait_for(lambda: os.listdir(m.model("b")) == [], 5, "a younger listing")


@both
@pytest.mark.parametrize("listed", [False, True])
def test_another_replaces_what_we_published(rgw, bucket, mount, more, listed):
    """Who has the newer one open reads all of it, also when somebody lists the folder then."""
    fill(rgw, bucket)
    rgw.put(bucket, "a/x" if listed else "a/y", b"old")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", overwrite="yes", list_ttl="60s", **more))
    assert len(os.listdir(m.model("a"))) == 1
    write(m.model("a", "x"), b"short")
    assert read(m.model("a", "x")) == b"short"
    rgw.put(bucket, "a/x", content(3000))
    with open(m.model("a", "x"), "rb", buffering=0) as f:
        found = {entry.name: entry.stat().st_size for entry in os.scandir(m.model("a"))}
        assert found["x"] == 3000
        assert f.read(10000) == content(3000)


@both
def test_another_publishes_what_we_removed(rgw, bucket, mount, more):
    fill(rgw, bucket)
    rgw.put(bucket, "a/x", b"old")
    rgw.put(bucket, "a/y", b"old")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", delete="yes", list_ttl="60s", **more))
    assert sorted(os.listdir(m.model("a"))) == ["x", "y"]
    os.unlink(m.model("a", "x"))
    assert os.listdir(m.model("a")) == ["y"]
    rgw.put(bucket, "a/x", b"newer")
    wait_for(lambda: error(read, m.model("a", "x")) == "ok", 5, "the name's end in the kernel")
    assert sorted(os.listdir(m.model("a"))) == ["x", "y"]


@pytest.mark.parametrize("yes", [{}, {"overwrite": "yes", "delete": "yes"}], ids=["defaults", "all"])
def test_what_is_only_shown_stays(rgw, bucket, mount, yes):
    """Members of archives and older versions: no call makes, changes or removes one, whatever objects allow."""
    rgw.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rgw.put(bucket, "a/model.zip", b"older")
    with io.BytesIO() as f:
        with zipfile.ZipFile(f, "w") as z:
            z.writestr("config", "{}")
        rgw.put(bucket, "a/model.zip", f.getvalue())
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", versions="yes", **yes))
    whole, folder, versions = (m.model("a", name) for name in ("model.zip", "model.zip.d", ".versions"))
    member = os.path.join(folder, "config")
    version, = os.listdir(os.path.join(versions, "model.zip"))
    older = os.path.join(versions, "model.zip", version)
    for path in (member, older):
        for flags in (os.O_WRONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_TRUNC,
                      os.O_WRONLY | os.O_APPEND, os.O_RDONLY | os.O_TRUNC):
            assert error(os.open, path, flags) == "EROFS", flags
        for call, *args in ((os.unlink,), (os.truncate, 1), (os.chmod, 0o600), (os.chown, 12345, -1),
                            (os.utime, (1, 1)), (os.rename, whole + "2"), (os.rename, path + "2")):
            assert error(call, path, *args) == "EROFS", (call, args)
        assert error(os.rename, whole, path) == "EROFS" and not os.access(path, os.W_OK)
    for path in (folder, versions):
        new = os.path.join(path, "new")
        assert error(os.open, new, os.O_WRONLY | os.O_CREAT) == error(os.mkdir, new) == "EROFS"
        assert error(os.mknod, new) == error(os.symlink, "x", new) == "EROFS"
        assert error(os.link, whole, new) == error(os.rename, whole, new) == "EROFS"
        assert error(os.rmdir, path) == "EROFS" and not os.access(path, os.W_OK)
    assert read(member) == b"{}" and keys(rgw, bucket) == ["a/model.zip"]
    assert read(older) == b"older" and os.access(whole, os.W_OK)


@pytest.mark.parametrize("delete", ["no", "yes"])
def test_mv(rgw, bucket, mount, delete):
    """It copies, as between two file systems, and then removes the old one if it may."""
    rgw.put(bucket, "a/old", b"bytes")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", delete=delete))
    done = subprocess.run(["mv", m.model("a", "old"), m.model("a", "new")], capture_output=True, text=True,
                          check=False, timeout=100)
    if delete == "yes":
        assert (done.returncode, done.stderr) == (0, "") and keys(rgw, bucket) == ["a/new"]
    else:
        assert done.returncode == 1 and "cannot remove" in done.stderr and "not permitted" in done.stderr
        assert keys(rgw, bucket) == ["a/new", "a/old"]
    assert read(m.model("a", "new")) == b"bytes"


def test_rm_whose_answer_is_lost(rgw, bucket, mount, http_proxy):
    """Each time it is, it is told; and the object may be gone."""
    rgw.put(bucket, "a/x", b"x")
    s3 = http_proxy(rgw.port, lambda r: Answer(lose=True) if r.method == "DELETE" else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, read_only="no", delete="yes", max_attempts=2))
    assert error(os.unlink, m.model("a", "x")) == "EIO"
    assert m.log().count(" warn  s3: DELETE ") == m.log().count(" warn ") == 1
    assert keys(rgw, bucket) == []


@pytest.mark.parametrize("beside", ["a/v/x//y", "a/v/x/../y", "a/v/x/"])
def test_beside_a_key_that_is_no_name(s3, mount, beside):
    """Which makes no folder of the object, in no way in which it is asked for."""
    s3.objects.update({"a/v/x": b"hello", beside: b"other"}, **{f"b/{i}": b"x" for i in range(12)})
    listed = threading.Event()

    def lie(request):  # before there is a listing of all keys
        if request.command == "GET" and not request.key and not request.query.get("prefix"):
            listed.wait(20)
        return False

    s3.lie = lie
    m = mount(NO_HOSTS, s3.ini())
    assert read(m.model("a", "v", "x")) == b"hello"
    listed.set()
    assert os.listdir(m.model("a", "v")) == ["x"]
    os.utime(m.model())
    wait_for(lambda: error(read, m.model("a", "v", "x")) == "ok", 5, "the name's end in the kernel")
    by_folder = mount(NO_HOSTS, s3.ini(**BY_FOLDER))
    assert os.listdir(by_folder.model("a", "v")) == ["x"]
    wait_for(lambda: error(read, by_folder.model("a", "v", "x")) == "ok", 5, "the name's end in the kernel")
    assert os.path.isfile(by_folder.model("a", "v", "x"))


@both
def test_beside_a_key_that_is_a_name(rgw, bucket, mount, more):
    """Then the folder is shown."""
    fill(rgw, bucket)
    for key in ("a/x", "a/x//y", "a/x/z"):
        rgw.put(bucket, key, b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket, **more))
    for _ in range(2):
        assert error(read, m.model("a", "x")) == "EISDIR"
        assert os.listdir(m.model("a")) == ["x"] and os.listdir(m.model("a", "x")) == ["z"]


def test_versions_where_most_are_the_newest(s3, mount):
    """Pages without any older one are no pages without an end; but there is an end of all that is looked at."""
    s3.page = 10
    s3.objects["a/z"] = b"newest"
    s3.versions = [(f"a/{number:03}", "v2", True) for number in range(180)] + [("a/z", "v1", False)]
    m = mount(NO_HOSTS, s3.ini(versions="yes"))
    assert os.listdir(m.model("a", ".versions")) == ["z"]
    few = mount(NO_HOSTS, s3.ini(versions="yes", list_max_keys=10))
    assert error(os.listdir, few.model("a", ".versions")) == "EFBIG"


@both
def test_overwritten_twice(rgw, bucket, mount, more):
    """By this mount, and by another right after, before anybody looked here."""
    fill(rgw, bucket)
    rgw.put(bucket, "a/v/x", b"one")
    m = mount(NO_HOSTS, rgw.ini(bucket, read_only="no", overwrite="yes", **more))
    for i in range(5):
        assert read(m.model("a", "v", "x")) != b"here"
        write(m.model("a", "v", "x"), b"here")
        rgw.put(bucket, "a/v/x", b"there %d" % i)
        assert read(m.model("a", "v", "x")) == b"there %d" % i
