"""Publishing: whole objects or none, however the writer or the server ends."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from mount import SAN, SLOWER
from procs import wait_for
from proxy import Answer
from s3_server import Upload
from tools import (MIB, Background, content, error, python, read, sha256, timed, together,
                   write)

NO_HOSTS = "[hosts]\nssh_config =\n"
PART = 5 * MIB


def ini(rgw, bucket, port=None, **more):
    return rgw.ini(bucket, port, **{"read_only": "no", "part_size": "5M", **more})


def keys(rgw, bucket):
    return [o["Key"] for o in rgw.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


def uploads(rgw, bucket):
    return rgw.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def body(rgw, bucket, key):
    return rgw.client().get_object(Bucket=bucket, Key=key)["Body"].read()


def cp(source, target, **more):
    return subprocess.run(["cp", source, target], capture_output=True, text=True, check=False,
                          timeout=100, **more)


@pytest.fixture
def local(folder):
    """local(bytes) is a file with so many bytes."""
    def make(size, seed=0):
        path = os.path.join(folder, f"local-{size}-{seed}")
        write(path, content(size, seed))
        return path
    return make


def test_sizes(rgw, bucket, mount, http_proxy, local):
    """One PUT up to a part, parts above; there at close, and the mount shows it at once."""
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port))
    assert os.listdir(m.model()) == []
    os.makedirs(m.model("a", "v1"))
    assert os.listdir(m.model()) == ["a"] and os.listdir(m.model("a")) == ["v1"]
    for size, puts in ((0, 0), (1, 0), (PART, 0), (PART + 1, 2), (3 * PART + 7, 4)):
        name = f"{size}.zip"
        s3.reset_counts()
        done = cp(local(size), m.model("a", "v1", name))
        assert done.returncode == 0, done.stderr
        assert body(rgw, bucket, f"a/v1/{name}") == content(size)
        assert read(m.model("a", "v1", name)) == content(size)
        assert name in os.listdir(m.model("a", "v1"))
        assert len(s3.sent("PUT", "partNumber")) == puts
        assert len(s3.sent("PUT")) == (puts or 1)
        assert len(s3.sent("POST", "uploads")) == len(s3.sent("POST", "uploadId")) == (puts > 0)
    assert uploads(rgw, bucket) == []
    assert "published    5 objects" in m.status()


def test_20_files_at_once(rgw, bucket, mount, http_proxy, local):
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_connections=10), settings="memory = 64M")
    os.makedirs(m.model("a", "v1"))
    sizes = [n * 700_000 for n in range(20)]
    sources = [local(size) for size in sizes]
    done = together(lambda n=n: cp(sources[n], m.model("a", "v1", f"{n}.zip")) for n in range(20))
    assert [one.stderr for one in done] == [""] * 20
    for n, size in enumerate(sizes):
        assert sha256(body(rgw, bucket, f"a/v1/{n}.zip")) == sha256(content(size))
    assert uploads(rgw, bucket) == []
    assert 1 < s3.most <= 10


@pytest.mark.seconds(120)
def test_memory(rgw, bucket, mount, local):
    m = mount(NO_HOSTS, ini(rgw, bucket), settings="memory = 16M")
    os.makedirs(m.model("a", "v1"))
    source = local(60 * MIB)
    done = cp(source, m.model("a", "v1", "model.zip"))
    assert done.returncode == 0, done.stderr
    assert sha256(body(rgw, bucket, "a/v1/model.zip")) == sha256(content(60 * MIB))
    assert m.metric("scoutfs_buffer_bytes") <= 16 * MIB
    if not SAN:  # which needs memory of its own
        assert m.peak_memory() < 16 * MIB + 40 * MIB


def test_what_is_there_stays(rgw, bucket, mount, local):
    """overwrite and delete are off; and S3 decides, whatever was known before."""
    rgw.put(bucket, "a/v1/model.zip", b"old")
    m = mount(NO_HOSTS, ini(rgw, bucket))
    assert "File exists" in cp(local(10), m.model("a", "v1", "model.zip")).stderr
    assert error(os.unlink, m.model("a", "v1", "model.zip")) == "EPERM"
    assert error(os.mkdir, m.model("a", "v1")) == "EEXIST"
    assert error(os.rmdir, m.model("a", "v1")) == "ENOTEMPTY"
    assert body(rgw, bucket, "a/v1/model.zip") == b"old"
    for name, size in (("small.zip", 10), ("large.zip", PART + 1)):
        fd = os.open(m.model("a", "v1", name), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, content(size))
        assert error(os.open, m.model("a", "v1", name), os.O_WRONLY | os.O_TRUNC) == "EEXIST"
        rgw.put(bucket, f"a/v1/{name}", b"another's")
        assert error(read, m.model("a", "v1", name)) == "ENOENT"  # its name stands for what is written
        assert error(os.close, fd) == "EEXIST"
        assert body(rgw, bucket, f"a/v1/{name}") == b"another's"
    assert uploads(rgw, bucket) == [] and " warn  s3: " not in m.log()


def test_read_only_is_the_default(rgw, bucket, mount, local):
    rgw.put(bucket, "a/v1/model.zip", b"old")
    m = mount(NO_HOSTS, rgw.ini(bucket))
    assert "Read-only file system" in cp(local(10), m.model("a", "v1", "new.zip")).stderr
    assert error(os.mkdir, m.model("b")) == "EROFS"
    assert error(os.unlink, m.model("a", "v1", "model.zip")) == "EROFS"
    assert oct(os.stat(m.model("a", "v1", "model.zip")).st_mode) == "0o100444"


def test_overwrite_and_delete(rgw, bucket, mount, local):
    rgw.put(bucket, "a/v1/model.zip", b"old")
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes", delete="yes"))
    path = m.model("a", "v1", "model.zip")
    for size in (10, PART + 1):
        reader = os.open(path, os.O_RDONLY)
        done = cp(local(size), path)
        assert done.returncode == 0, done.stderr
        assert error(os.pread, reader, 3, 0) in ("ESTALE", "ok")
        os.close(reader)
        assert read(path) == body(rgw, bucket, "a/v1/model.zip") == content(size)
        assert os.stat(path).st_size == size
    os.unlink(path)
    assert keys(rgw, bucket) == []
    assert error(os.stat, path) == "ENOENT" and os.listdir(m.model("a", "v1")) == []
    done = cp(local(10), path)
    assert done.returncode == 0, done.stderr
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]
    subprocess.run(["rm", "-r", m.model("a")], check=True)
    assert keys(rgw, bucket) == [] and os.listdir(m.model()) == []


def test_folders(rgw, bucket, mount):
    """mkdir makes them in this mount, until an object is in them."""
    rgw.put(bucket, "a/v1/model.zip", b"x")
    m = mount(NO_HOSTS, ini(rgw, bucket))
    assert os.listdir(m.model()) == ["a"]
    os.mkdir(m.model("b"))
    os.mkdir(m.model("b", "v1"))
    assert sorted(os.listdir(m.model())) == ["a", "b"] and keys(rgw, bucket) == ["a/v1/model.zip"]
    assert error(os.rmdir, m.model("b")) == "ENOTEMPTY"
    os.rmdir(m.model("b", "v1"))
    os.rmdir(m.model("b"))
    assert os.listdir(m.model()) == ["a"] and error(os.stat, m.model("b")) == "ENOENT"


def fail(word, times=10**9, **answer):
    """A fault for the first requests that change something and whose line holds word."""
    left = [times]

    def fault(request):
        if re.search(word, f"{request.method} {request.target}") and left[0] > 0:
            left[0] -= 1
            return Answer(**answer)
        return None
    return fault


def is_complete(request):
    return request.method == "POST" and "uploadId" in request.query


@pytest.mark.parametrize("size, word", [(10, "PUT /"), (PART + 1, "uploads="),
                                        (3 * PART, "partNumber=2"), (PART + 1, "POST .*Id")])
def test_a_server_that_fails(rgw, bucket, mount, http_proxy, local, size, word):
    """close tells it, and then nothing is left."""
    s3 = http_proxy(rgw.port, fail(word, status=500))
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_attempts=2))
    os.mkdir(m.model("a"))
    done = cp(local(size), m.model("a", "model.zip"))
    assert done.returncode == 1 and "Input/output error" in done.stderr
    assert keys(rgw, bucket) == []
    assert uploads(rgw, bucket) == []
    assert error(os.stat, m.model("a", "model.zip")) == "ENOENT"
    assert len(re.findall(f" warn  s3: .*{bucket}/a/model.zip: ", m.log())) == 1
    assert m.log().count(" warn  models: a/model.zip is not published: ") == 1


@pytest.mark.parametrize("size, word", [(10, "PUT /"), (PART + 1, "partNumber=1"),
                                        (PART + 1, "uploadId")])
def test_a_server_that_fails_for_a_while(rgw, bucket, mount, http_proxy, local, size, word):
    s3 = http_proxy(rgw.port, fail(word, times=2, status=503))
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port))
    os.mkdir(m.model("a"))
    done = cp(local(size), m.model("a", "model.zip"))
    assert done.returncode == 0, done.stderr
    assert body(rgw, bucket, "a/model.zip") == content(size)


@pytest.mark.parametrize("size, method", [(10, "PUT"), (PART + 1, "POST")])
def test_an_answer_that_is_lost(rgw, bucket, mount, http_proxy, local, size, method):
    """The object is there, and that it is ours shows by its ETag."""
    s3 = http_proxy(rgw.port, lambda r: Answer(lose=True) if r.method == method and
                    r.query != "uploads=" else None)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_attempts=2))
    os.mkdir(m.model("a"))
    done = cp(local(size), m.model("a", "model.zip"))
    assert done.returncode == 0, done.stderr
    assert body(rgw, bucket, "a/model.zip") == content(size)


def test_an_error_after_200(rgw, bucket, mount, http_proxy, local):
    s3 = http_proxy(rgw.port, lambda r: Answer(status=200, code="InternalError")
                    if is_complete(r) else None)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, max_attempts=2))
    os.mkdir(m.model("a"))
    assert "Input/output error" in cp(local(PART + 1), m.model("a", "model.zip")).stderr
    assert len(s3.sent("POST", "uploadId")) == 2
    assert keys(rgw, bucket) == []
    assert uploads(rgw, bucket) == []


def writer_of(m, path, size):
    """A process that has written size bytes to path and holds it open."""
    code = ("import os, sys, time; fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); "
            "left = int(sys.argv[2])\n"
            "while left > 0: left -= os.write(fd, b'x' * min(left, 100000))\n"
            "print('written', flush=True); time.sleep(100)")
    writer = subprocess.Popen([sys.executable, "-c", code, path, str(size)],
                              stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "written\n"
    return writer


def test_a_writer_that_is_killed(rgw, bucket, mount, http_proxy, local):
    """In mid-write, or with all written and nothing closed: nothing is published."""
    m = mount(NO_HOSTS, ini(rgw, bucket))
    os.mkdir(m.model("a"))
    for number, (size, how) in enumerate([(10, signal.SIGKILL), (2 * PART, signal.SIGKILL),
                                          (10, signal.SIGTERM)]):
        path = m.model("a", f"{number}.zip")
        writer = writer_of(m, path, size)
        writer.send_signal(how)
        writer.wait(20)
        wait_for(lambda p=path: error(os.stat, p) == "ENOENT", 20, "the end")
    assert keys(rgw, bucket) == []
    wait_for(lambda: uploads(rgw, bucket) == [], 20, "the abort")
    assert m.log().count("is not published") == m.log().count("(EINTR)") == 3


def test_cp_that_is_killed(rgw, bucket, mount, proxy, local):
    """While its write waits for S3."""
    link = proxy(rgw.port)
    m = mount(NO_HOSTS, ini(rgw, bucket, link.port), settings="memory = 16M")
    os.mkdir(m.model("a"))
    source = local(60 * MIB)
    link.bytes_per_s = 1_000_000
    copy = subprocess.Popen(["cp", source, m.model("a", "model.zip")])
    wait_for(lambda: link.bytes_up > 200_000, 20, "an upload")
    copy.kill()
    copy.wait(20)
    link.bytes_per_s = 0
    wait_for(lambda: "(EINTR)" in m.log(), 20, "the end")
    wait_for(lambda: uploads(rgw, bucket) == [], 20, "the abort")
    assert keys(rgw, bucket) == []


def test_shells(rgw, bucket, mount):
    """Descriptors that were copied, and programs that end without closing."""
    m = mount(NO_HOSTS, ini(rgw, bucket))
    os.mkdir(m.model("a"))

    def bash(line):
        return subprocess.run(["bash", "-c", line, "-", m.model("a")], capture_output=True,
                              text=True, check=False, timeout=30)
    for name, line, text in (
            ("echo", 'echo one > "$1"/echo', "one\n"),
            ("group", '{ echo one; echo two; } > "$1"/group', "one\ntwo\n"),
            ("fd", 'exec 3> "$1"/fd; echo one >&3; echo two >&3; exec 3>&-', "one\ntwo\n"),
            ("children", '(sh -c "echo one"; sh -c "echo two") > "$1"/children', "one\ntwo\n"),
            ("later", '(sleep 0.3; echo two) > "$1"/later & wait', "two\n"),
            ("orphan", 'sh -c "(sleep 0.3; echo two) & echo one" > "$1"/orphan; sleep 0.1; wait; '
                       'while [ ! -s "$1"/orphan ] || ! cat "$1"/orphan >/dev/null 2>&1; do '
                       'sleep 0.1; done', "one\ntwo\n"),
            ("empty", ': > "$1"/empty', ""),
            ("append", 'echo one >> "$1"/append', "one\n"),
            ("unclosed", f'{sys.executable} -c "import os; os.write(1, b\'x\'); os._exit(0)" '
                         '> "$1"/unclosed', "x"),
            ("error", f'{sys.executable} -c "import os; os.write(1, b\'x\'); os.close(1); os._exit(3)" '
                      '> "$1"/error || true', "x"),
            ("signal", f'{sys.executable} -c "import os, signal; signal.signal(15, lambda *_: os.close(1)); '
                       'os.write(1, b\'x\'); os.kill(os.getpid(), 15); os._exit(3)" > "$1"/signal || true', "x")):
        done = bash(line)
        assert done.returncode == 0 and done.stderr == "", (name, done.stderr)
        wait_for(lambda n=name: f"a/{n}" in keys(rgw, bucket), 10, name)
        assert body(rgw, bucket, f"a/{name}") == text.encode(), name
    done = bash(f'{sys.executable} -c "import os; os.write(1, b\'x\'); os._exit(3)" > "$1"/failed')
    assert done.returncode == 3
    wait_for(lambda: "the process that wrote it failed" in m.log(), 10, "the end")
    assert "a/failed" not in keys(rgw, bucket)


def test_after_a_crash(rgw, bucket, mount, local):
    """What was under way is listed, and aborted when it is old; others' keys are left alone."""
    rgw.client().create_multipart_upload(Bucket=bucket, Key="elsewhere/model.zip")
    m = mount(NO_HOSTS, ini(rgw, bucket, prefix="mine/"))
    os.mkdir(m.model("a"))
    writer = writer_of(m, m.model("a", "model.zip"), 2 * PART)
    wait_for(lambda: len(uploads(rgw, bucket)) == 2, 20, "an upload")
    m.expect_crash = True
    m.abort()
    writer.kill()
    writer.wait(20)
    m.ended_within(20)
    subprocess.run(["fusermount3", "-u", m.point], check=True)
    assert keys(rgw, bucket) == []
    again = mount(NO_HOSTS, ini(rgw, bucket, prefix="mine/"))
    wait_for(lambda: "unended    mine/a/model.zip, begun " in again.status(), 20, "the list")
    begun = max(u["Initiated"].timestamp() for u in uploads(rgw, bucket))
    wait_for(lambda: time.time() > begun + 1, 20, "the next second of the server's clock")
    last = mount(NO_HOSTS, ini(rgw, bucket, prefix="mine/", abort_uploads_after="10ms"))
    wait_for(lambda: "aborted    1 that nobody ended" in last.status(), 20, "the abort")
    assert [u["Key"] for u in uploads(rgw, bucket)] == ["elsewhere/model.zip"]


@pytest.mark.parametrize("hours", [-25, 0, 25])
def test_what_is_old_by_the_servers_clock(s3, mount, hours):
    """This machine's may be days off, and another's upload is under way."""
    s3.clock = lambda: time.time() + hours * 3600
    for name, age in (("young", 90), ("old", 24 * 3600 + 60)):
        s3.uploads[name] = Upload(f"a/{name}", {})
        s3.uploads[name].begun = s3.clock() - age
    m = mount(NO_HOSTS, s3.ini(read_only="no"))
    wait_for(lambda: "aborted    1 that nobody ended" in m.status(), 20, "the abort")
    assert list(s3.uploads) == ["young"]
    assert "unended    a/young, begun 1m " in m.status()


def test_nothing_is_old_without_the_servers_clock(s3, mount):
    def lie(request):
        request.date_time_string = lambda *_: "today"
        return False

    s3.lie = lie
    s3.uploads["old"] = Upload("a/old", {})
    s3.uploads["old"].begun -= 25 * 3600
    m = mount(NO_HOSTS, s3.ini(read_only="no"))
    wait_for(lambda: "unended    a/old, begun " in m.status(), 20, "the list")
    assert not s3.came("DELETE")


@pytest.mark.parametrize("size", [10, 2 * PART])
def test_the_end_of_the_mount(rgw, bucket, mount, size):
    m = mount(NO_HOSTS, ini(rgw, bucket))
    os.mkdir(m.model("a"))
    writer = writer_of(m, m.model("a", "model.zip"), size)
    assert "writing    a/model.zip" in m.status()
    m.unmount(signal.SIGTERM)
    writer.kill()
    writer.wait(20)
    assert keys(rgw, bucket) == uploads(rgw, bucket) == []


def test_quota(rgw, mount, local, bucket):
    quota = ("quota", "--uid", "scout", "--quota-scope", "bucket", "--bucket", bucket)
    rgw._run("radosgw-admin", *quota[:1], "set", *quota[1:], "--max-size", str(PART // 2))
    rgw._run("radosgw-admin", *quota[:1], "enable", *quota[1:])
    m = mount(NO_HOSTS, ini(rgw, bucket))
    os.mkdir(m.model("a"))
    for size in (PART, 2 * PART):
        done = cp(local(size), m.model("a", "model.zip"))
        assert done.returncode == 1 and "Disk quota exceeded" in done.stderr, done.stderr
    assert keys(rgw, bucket) == []
    wait_for(lambda: uploads(rgw, bucket) == [], 20, "the abort")


def test_interrupted_in_close(rgw, bucket, mount, proxy, local):
    """Ctrl-C ends a close at once; the PUT that is under way may make the object all the same, whole."""
    link = proxy(rgw.port)
    m = mount(NO_HOSTS, ini(rgw, bucket, link.port))
    os.mkdir(m.model("a"))
    assert os.listdir(m.model("a")) == []
    link.stall()
    copy = subprocess.Popen(["cp", local(10), m.model("a", "model.zip")])
    link_waits = lambda: m.metric("scoutfs_s3_active") > 0  # noqa: E731
    wait_for(link_waits, 20, "a request")
    copy.send_signal(signal.SIGINT)
    assert copy.wait(10) != 0
    link.resume()
    wait_for(lambda: "    writing    " not in m.status(), 60 * SLOWER, "its end")
    found = keys(rgw, bucket)
    assert found == [] or body(rgw, bucket, "a/model.zip") == content(10)
    assert ("published    1 objects" in m.status()) == (found != [])


@pytest.mark.parametrize("again", [False, True])
def test_interrupted_in_write(rgw, bucket, mount, again):
    """While it waits for another's room: close tells it, unless that was written again."""
    m = mount(NO_HOSTS, ini(rgw, bucket), settings="memory = 16M")
    os.mkdir(m.model("a"))
    first = os.open(m.model("a", "first.zip"), os.O_WRONLY | os.O_CREAT)
    os.write(first, b"x")  # has the room for all of its part, and there is no more
    second = python("""
import os, signal, sys
def stop(number, frame):
    raise InterruptedError
signal.signal(signal.SIGINT, stop)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
print("open", flush=True)
try:
    os.write(fd, b"second")
except InterruptedError:
    print("interrupted", flush=True)
if sys.argv[2] == "True":
    os.write(fd, b"second")
try:
    os.close(fd)
    print("closed", flush=True)
except OSError as e:
    print(e.strerror, flush=True)
""", m.model("a", "second.zip"), again)
    assert second.stdout.readline() == "open\n"
    wait_for(lambda: m.metric("scoutfs_requests_in_flight") > 1, 20, "a write that waits")
    second.send_signal(signal.SIGINT)
    assert second.stdout.readline() == "interrupted\n"
    if again:
        os.close(first)
    word = second.stdout.readline()
    assert second.wait(20) == 0
    if not again:
        os.close(first)
    third = m.model("a", "third.zip")
    write(third, b"third")  # the room is there for others
    if again:
        assert word == "closed\n" and body(rgw, bucket, "a/second.zip") == b"second"
    else:
        assert word == "Input/output error\n" and "was not repeated" in m.log()
        assert keys(rgw, bucket) == ["a/first.zip", "a/third.zip"]


def test_a_silent_server(rgw, bucket, mount, proxy, local):
    """Its time passes, and no more."""
    link = proxy(rgw.port)
    m = mount(NO_HOSTS, ini(rgw, bucket, link.port, timeout="1s", max_attempts=2))
    os.mkdir(m.model("a"))
    fd = os.open(m.model("a", "model.zip"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    link.stall()
    word, seconds = timed(error, os.close, fd)
    assert word == "ETIMEDOUT" and seconds < 25 * SLOWER
    link.resume()
    assert "is not published" in m.log()


def test_a_slow_link_is_no_silence(rgw, bucket, mount, proxy, local):
    """The last bytes are on their way for longer than `timeout`, and the server takes them all the time."""
    link = proxy(rgw.port)
    link.narrow()
    m = mount(NO_HOSTS, ini(rgw, bucket, link.port, timeout="1s", max_attempts=5))
    os.makedirs(m.model("a", "v1"))
    link.bytes_per_s = 200_000
    done = cp(local(600_000), m.model("a", "v1", "model.zip"))
    assert done.returncode == 0, done.stderr
    assert body(rgw, bucket, "a/v1/model.zip") == content(600_000)
    assert m.metric("scoutfs_s3_retries_total") < 4, "not each attempt"


def test_what_an_object_cannot_do(rgw, bucket, mount, local):
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes"))
    os.mkdir(m.model("a"))
    path = m.model("a", "model.zip")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.write(fd, b"0123456789")
    assert os.stat(path).st_size == os.fstat(fd).st_size == 10
    assert os.listdir(m.model("a")) == [] and error(read, path) == "ENOENT"
    assert error(os.pread, fd, 1, 0) == "ENOTSUP"
    assert error(os.fsync, fd) == "EINVAL"
    assert error(os.open, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) in ("EEXIST", "EBUSY")
    assert error(os.ftruncate, fd, 5) == "ENOTSUP"
    os.ftruncate(fd, 10)
    os.fchmod(fd, 0o644)
    os.utime(fd)
    os.close(fd)
    assert read(path) == b"0123456789"
    assert error(os.chmod, path, 0o600) == error(os.chown, path, 12345, -1) == "EPERM"
    assert error(os.utime, path, (1, 1)) == "EPERM"
    assert error(os.truncate, path, 5) == "ENOTSUP"
    assert error(os.open, path, os.O_WRONLY) == "ENOTSUP"
    assert error(os.rename, path, path + "2") == "EXDEV"
    assert error(os.symlink, "x", path + "2") == error(os.link, path, path + "2") == "EPERM"
    fd = os.open(m.model("a", "seeks"), os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"0123456789")
    assert error(os.pwrite, fd, b"x", 3) == "ENOTSUP"
    assert error(os.close, fd) == "ENOTSUP"
    assert keys(rgw, bucket) == ["a/model.zip"]
    done = subprocess.run(["rsync", "--inplace", local(1000), m.model("a", "synced")],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert body(rgw, bucket, "a/synced") == content(1000)
    assert cp(m.model("a", "synced"), m.model("a", "copied")).returncode == 0
    assert body(rgw, bucket, "a/copied") == content(1000)


def test_two_mounts_of_one_registry(rgw, bucket, mount, local):
    """Whoever writes in the one does not hold up the other, where the same path has the same number."""
    one, two = mount(NO_HOSTS, ini(rgw, bucket)), mount(NO_HOSTS, ini(rgw, bucket))
    for m in (one, two):
        os.mkdir(m.model("a"))
    with open(one.model("a", "model.zip"), "wb", buffering=0) as f:
        f.write(b"not whole")
        assert cp(local(1000), two.model("a", "model.zip")).returncode == 0
        assert body(rgw, bucket, "a/model.zip") == content(1000)
        assert error(f.close) == "EEXIST"
    assert body(rgw, bucket, "a/model.zip") == content(1000)


@pytest.mark.parametrize("name", ["a b", "tab\tback\\slash"])
def test_a_mountpoint_of_any_name(rgw, bucket, mount, name):
    """What is open for writing in another mount, where it has the same number, is none of this one's."""
    here, other = mount(NO_HOSTS, ini(rgw, bucket), run=False), mount(NO_HOSTS, ini(rgw, bucket))
    os.rmdir(here.point)
    here.point = os.path.join(here.folder, name)
    os.mkdir(here.point)
    here.start()
    for m in (here, other):
        os.makedirs(m.model("bert", "v1"))
    with open(other.model("bert", "v1", "x"), "wb", buffering=0) as f:
        write(here.model("bert", "v1", "x"), b"whole")
        assert body(rgw, bucket, "bert/v1/x") == b"whole"
        f.write(b"later")
        assert error(f.close) == "EEXIST"


@pytest.mark.parametrize("unzip, word", [("yes", "EROFS"), ("no", "ok")])
def test_nothing_is_made_in_what_is_named_as_an_archives_folder(rgw, bucket, mount, unzip, word):
    """Nor at that name itself; also where there is no such archive, and the bucket has the folder."""
    rgw.put(bucket, "none.zip.d/below/there", b"there")
    m = mount(NO_HOSTS, ini(rgw, bucket, unzip=unzip))
    folder = m.model("none.zip.d")
    assert os.listdir(folder) == ["below"] and read(folder + "/below/there") == b"there"
    for path in (folder + "/new", folder + "/below/new", m.model("other.zip.d")):
        assert error(write, path, b"new") == word
    assert error(os.mkdir, folder + "/made") == error(os.mkdir, m.model("more.zip.d")) == word
    made = ["none.zip.d/below/new", "none.zip.d/new", "other.zip.d"] if word == "ok" else []
    assert keys(rgw, bucket) == sorted(made + ["none.zip.d/below/there"])


def test_readers_of_what_is_replaced(rgw, bucket, mount):
    """Until it is closed the older object is there, whole; then it is gone for who had it open."""
    data = content(3 * MIB)
    rgw.put(bucket, "a/model.zip", data)
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes"))
    path = m.model("a", "model.zip")
    reader = os.open(path, os.O_RDONLY)
    assert os.pread(reader, 10, 0) == data[:10]
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.pread(reader, 10, 2 * MIB) == data[2 * MIB:2 * MIB + 10]
    os.write(fd, b"new")
    assert read(path) == data and os.stat(path).st_size == len(data)
    assert os.fstat(reader).st_size == len(data) and os.fstat(fd).st_size in (3, len(data))
    os.close(fd)
    assert read(path) == b"new"
    with open(path, "rb") as f:
        assert f.read() == b"new"
    assert error(os.pread, reader, 10, MIB) in ("ESTALE", "ok")
    os.close(reader)


def test_who_reads_what_is_replaced_by_a_shorter_one_gets_no_early_end(rgw, bucket, mount):
    """Also when the kernel has been told of the new size, for the same name."""
    data = content(3 * MIB)
    rgw.put(bucket, "a/model.zip", data)
    m = mount(NO_HOSTS, ini(rgw, bucket, list_ttl="1s"))
    path = m.model("a", "model.zip")
    reader = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(reader, 10, 0) == data[:10]
        rgw.put(bucket, "a/model.zip", b"new")
        wait_for(lambda: os.stat(path).st_size == 3, 20, "the new size")
        assert error(os.pread, reader, 10, 2 * MIB) == "ESTALE"
        assert read(path) == b"new"
    finally:
        os.close(reader)


def test_who_reads_what_is_replaced_by_a_slow_writer(rgw, bucket, mount):
    """Also when the kernel asks for the file's end anew, by his handle, while the writer has it open."""
    data = content(3 * MIB)
    rgw.put(bucket, "a/model.zip", data)
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes"))
    path = m.model("a", "model.zip")
    with open(path, "rb", buffering=0) as reader, open(path, "wb", buffering=0) as writer:
        writer.write(b"new")
        asked = m.metric("scoutfs_requests_total", backend="models", op="getattr", result="ok")

        def asks_again():
            assert os.pread(reader.fileno(), 100, len(data) - 10) == data[-10:]
            return m.metric("scoutfs_requests_total", backend="models", op="getattr",
                            result="ok") > asked

        wait_for(asks_again, 20, "a question for the file's end")
    assert read(path) == b"new"


def test_who_creates_what_another_has_just_published(rgw, bucket, mount, folder):
    """The kernel believes that nothing is there. Until it is replaced its readers find another file."""
    data = content(3 * MIB)
    m = mount(NO_HOSTS, ini(rgw, bucket, overwrite="yes"))
    path = m.model("a", "model.zip")
    os.mkdir(m.model("a"))
    assert error(os.stat, path) == "ENOENT"
    rgw.put(bucket, "a/model.zip", data)
    time.sleep(0.1)  # what S3 said of a name counts for 50 ms, and in the kernel for a second
    assert error(os.open, path, os.O_WRONLY | os.O_CREAT) == "ENOTSUP"  # and keep the rest of it
    with open(path, "wb", buffering=0) as writer:
        writer.write(b"new")
        with open(path, "rb", buffering=0) as reader, open(folder + "/piece", "wb+") as piece:
            os.ftruncate(writer.fileno(), 3)  # in the kernel, too, the writer's file ends there
            assert os.sendfile(piece.fileno(), reader.fileno(), 2 * MIB, 10) == 10
            assert os.pread(piece.fileno(), 99, 0) == data[2 * MIB:2 * MIB + 10]
            assert read(path) == data
    assert read(path) == b"new" == body(rgw, bucket, "a/model.zip")


def test_who_opens_what_is_just_being_replaced_gets_no_early_end(rgw, bucket, mount, http_proxy):
    """S3 answers his open behind the writer's, which ends at 0, in the kernel, the file that it opened."""
    data = content(3 * MIB)
    rgw.put(bucket, "a/model.zip", data)
    holds, calls = threading.Event(), []  # the HEADs; the first of them is not answered

    def fault(request):
        if not holds.is_set() or request.method != "HEAD":
            return None
        calls.append(request.call)
        return Answer(stall=True) if request.call == calls[0] else None

    s3 = http_proxy(rgw.port, fault)
    m = mount(NO_HOSTS, ini(rgw, bucket, s3.port, overwrite="yes"))
    path = m.model("a", "model.zip")
    assert os.stat(path).st_size == len(data)
    holds.set()
    opening = Background([lambda: open(path, "rb", buffering=0)])
    wait_for(lambda: calls, 20, "the reader's question")
    with open(path, "wb", buffering=0) as writer:
        holds.clear()
        s3.cut()
        with opening.results()[0] as reader:
            assert reader.read(MIB) == data[:MIB]
        writer.write(b"new")
    # he was told to look the name up again, and has another inode than the writer
    assert m.metric("scoutfs_requests_total", backend="models", op="open", result="ESTALE") >= 1
    assert read(path) == b"new"
