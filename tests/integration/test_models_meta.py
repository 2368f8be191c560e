"""What the registry tells beside bytes: extended attributes, checksums, versions, listings."""

import base64
import hashlib
import os
import stat
import subprocess

import pytest

from mount import SLOWER
from procs import wait_for
from proxy import Answer
from tools import MIB, content, error, read, together, write

NO_HOSTS = "[hosts]\nssh_config =\n"


def attributes(path):
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


def test_extended_attributes(rgw, bucket, mount, http_proxy):
    """One HEAD tells all of them, and what `ls -l` asks for costs none."""
    etag = rgw.client().put_object(Bucket=bucket, Key="reg/a/v1/model.zip", Body=b"bytes",
                                   Metadata={"author": "me, myself", "empty": ""})["ETag"]
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, prefix="reg/"))
    path = m.model("a", "v1", "model.zip")
    subprocess.run(["ls", "-lR", m.model()], check=True, stdout=subprocess.DEVNULL)
    assert [r.method for r in s3.requests] == ["GET"] and len(s3.lists()) == 1
    found = attributes(path)
    assert found.items() >= {"user.scoutfs.etag": etag.strip('"').encode(),
                             "user.scoutfs.key": b"reg/a/v1/model.zip",
                             "user.scoutfs.storage_class": b"STANDARD",
                             "user.s3.meta.author": b"me, myself"}.items()
    assert len([r for r in s3.requests if r.method == "HEAD"]) == 1
    assert error(os.getxattr, path, "user.none") == "ENODATA"
    assert error(os.getxattr, path, "security.selinux") == "ENOTSUP"
    assert error(os.setxattr, path, "user.a", b"x") in ("ENOTSUP", "EROFS")
    assert os.listxattr(m.model("a")) == []
    assert len([r for r in s3.requests if r.method == "HEAD"]) == 1
    assert m.metric("scoutfs_requests_total", backend="models", op="getxattr", result="ok") >= 4


def test_a_short_buffer_for_an_attribute(rgw, bucket, mount):
    rgw.put(bucket, "a/v1/model.zip", b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket))
    code = ("import ctypes, errno, os, sys\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "buf = ctypes.create_string_buffer(5)\n"
            "for size in (0, 5):\n"
            "    n = libc.getxattr(sys.argv[1].encode(), b'user.scoutfs.etag', buf, size)\n"
            "    print(n if n >= 0 else errno.errorcode[ctypes.get_errno()])\n")
    done = subprocess.run(["python3", "-c", code, m.model("a", "v1", "model.zip")], check=True,
                          stdout=subprocess.PIPE, text=True)
    assert done.stdout.split() == ["32", "ERANGE"]


def test_attributes_where_there_are_none(sshd, rgw, bucket, mount):
    """A host beside a registry: no extended attributes, as without one."""
    web1 = sshd("web1")
    rgw.put(bucket, "a", b"x")
    m = mount(sshd.ini(web1), rgw.ini(bucket))
    assert error(os.listxattr, m.host("web1")) == "ENOTSUP"
    assert error(os.getxattr, m.host("web1"), "user.a") == "ENOTSUP"
    assert error(os.listxattr, m.path()) == "ENOTSUP"
    assert os.listxattr(m.model("a"))


def flipped(at, times=1):
    """A fault: the byte at that offset of an object comes wrong in the first answers that hold it."""
    left = [times]

    def fault(request):
        if request.method == "GET" and request.range and left[0] > 0:
            first, last = map(int, request.range.removeprefix("bytes=").split("-"))
            if first <= at <= last:
                left[0] -= 1
                return Answer(flip=at - first)
        return None
    return fault


def sha256_header(data):
    return {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(data).digest()).decode()}


def test_one_wrong_byte_is_an_error(rgw, bucket, mount, http_proxy):
    """MD5 by the ETag: EIO, one line, a metric; and the next who opens it gets the right bytes."""
    data = content(9 * MIB + 5)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port, fault=flipped(3 * MIB + 7))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    path = m.model("a", "v1", "model.zip")
    assert error(read, path) == "EIO"
    assert m.metric("scoutfs_models_mismatches_total") == 1
    assert m.log().count("do not match its checksum") == 1
    assert read(path) == data
    assert m.metric("scoutfs_models_verified_total") == 1
    assert s3.body_bytes() == 2 * len(data), "all of it is fetched again"
    assert read(path) == data
    assert s3.body_bytes() == 2 * len(data), "and then believed"
    assert m.metric("scoutfs_models_mismatches_total") == 1


def test_who_opens_it_after_wrong_bytes_waits_for_nobody(rgw, bucket, mount, http_proxy):
    """Nor does who had it open, whatever is still being read: pages that are not to be seen are another inode's."""
    data = content(20 * MIB + 5)
    rgw.put(bucket, "a/v1/model.zip", data)
    wrong, held = flipped(3 * MIB + 7), []

    def fault(request):
        """Once the wrong byte was met the rest of the object does not come."""
        if held and request.method == "GET" and request.range and "bytes=0-" not in request.range:
            return Answer(stall=True)
        return wrong(request)

    s3 = http_proxy(rgw.port, fault=fault)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    path = m.model("a", "v1", "model.zip")
    with open(path, "rb", buffering=0) as first:
        assert error(lambda: [first.read(MIB) for _ in range(21)]) == "EIO"
        held.append(True)
        waiting = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: m.metric("scoutfs_requests_in_flight") >= 2, 20, "a blocked reader")
            for _ in range(3):
                with open(path, "rb", buffering=0) as other:
                    assert other.read(4096) == data[:4096]
            assert os.fstat(first.fileno()).st_ino == os.stat(path).st_ino
            assert waiting.poll() is None
        finally:
            waiting.kill()
            waiting.wait(10 * SLOWER)
        held.clear()
        assert read(path) == data
    assert m.metric("scoutfs_models_mismatches_total") == 1


def test_one_wrong_byte_before_an_end_that_the_kernel_has(rgw, bucket, mount, http_proxy):
    """As after `unzip -l`: a whole read sends no read of the end."""
    data = content(MIB + 300_000)  # the open asks for a MiB, the end is of another block than what is left
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port, fault=flipped(77))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    path = m.model("a", "v1", "model.zip")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert os.pread(fd, 22, len(data) - 22) == data[-22:]
    finally:
        os.close(fd)
    assert error(read, path) == "EIO"
    assert m.metric("scoutfs_models_mismatches_total") == 1
    assert read(path) == data
    assert m.metric("scoutfs_models_verified_total") == 1


def test_verify_no(rgw, bucket, mount, http_proxy):
    """The bytes as they come."""
    data = content(2 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port, fault=flipped(77))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, verify="no"))
    got = read(m.model("a", "v1", "model.zip"))
    assert got[:77] == data[:77] and got[77] == data[77] ^ 1 and got[78:] == data[78:]
    assert "checksum" not in m.log()
    assert m.metric("scoutfs_models_mismatches_total") == 0


def test_a_checksum_that_s3_keeps(rgw, bucket, mount, http_proxy):
    """x-amz-checksum-sha256 goes before the ETag, is asked for, and shows as an attribute."""
    data, other = content(2 * MIB), content(2 * MIB, 1)
    rgw.put(bucket, "right", data)
    rgw.put(bucket, "wrong", data)

    def fault(request):
        if request.method == "HEAD" and request.headers.get("x-amz-checksum-mode") == "ENABLED":
            return Answer(headers=sha256_header(other if request.path.endswith("wrong") else data))
        return None
    s3 = http_proxy(rgw.port, fault=fault)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert read(m.model("right")) == data
    assert m.metric("scoutfs_models_verified_total") == 1
    assert os.getxattr(m.model("right"), "user.scoutfs.sha256") == \
        hashlib.sha256(data).hexdigest().encode()
    assert error(read, m.model("wrong")) == "EIO"
    assert error(read, m.model("wrong")) == "EIO", "not only once"
    assert "'wrong': its bytes do not match its checksum, sha256" in m.log()


def test_an_upload_in_parts_without_checksums(rgw, bucket, mount, http_proxy):
    data = content(12 * MIB)
    rgw.put_parts(bucket, "parts", [data[:6 * MIB], data[6 * MIB:]])
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert os.getxattr(m.model("parts"), "user.scoutfs.etag").endswith(b"-2")
    assert read(m.model("parts")) == data
    assert m.metric("scoutfs_models_unverified_total") == 1
    assert m.metric("scoutfs_models_verified_total") == 0
    assert not any("partNumber" in r.query for r in s3.requests)


@pytest.mark.seconds(120)
def test_100_readers_are_verified_once(rgw, bucket, mount, http_proxy):
    data = content(24834009)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port), settings="memory = 64M")
    readers = [subprocess.Popen(["sha256sum", m.model("a", "v1", "model.zip")],
                                stdout=subprocess.PIPE, text=True) for _ in range(100)]
    sums = {reader.communicate(timeout=100)[0].split(" ")[0] for reader in readers}
    assert sums == {hashlib.sha256(data).hexdigest()}
    assert m.metric("scoutfs_models_verified_total") == 1
    assert s3.body_bytes() == len(data)


def test_many_models_are_verified_each(rgw, bucket, mount, http_proxy):
    """Digests of many models go side by side: the wrong one among them is the one that is told."""
    models = {f"model-{n}": content(MIB + 64 * n + n % 3, n) for n in range(20)}
    for name, data in models.items():
        rgw.put(bucket, name, data)
    wrong, fault = ["/model-7"], flipped(700_000, times=100)
    s3 = http_proxy(rgw.port, fault=lambda r: fault(r) if any(map(r.path.endswith, wrong)) else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    found = together(lambda name=name: error(read, m.model(name)) for name in models)
    assert dict(zip(models, found)) == {name: "EIO" if name == "model-7" else "ok" for name in models}
    assert m.metric("scoutfs_models_verified_total") == 19
    assert m.metric("scoutfs_models_mismatches_total") == 1
    wrong.clear()
    assert all(read(m.model(name)) == data for name, data in models.items())


def test_writes_to_a_host_ask_for_no_attributes(sshd, rgw, bucket, mount):
    """That a registry beside it has extended attributes costs a host's writers next to nothing."""
    m = mount(sshd.ini(sshd("web1")), rgw.ini(bucket))
    path = m.host("web1", "f")
    with open(path, "wb", buffering=0) as f:
        for number in range(200):
            f.write(b"%04d" % number)
    asked = m.metric("scoutfs_requests_total", backend="hosts", op="getxattr", result="EOPNOTSUPP")
    assert 1 <= asked < 100, "once, and after each look at its attributes"
    assert error(os.getxattr, path, "user.any") == "ENOTSUP"


@pytest.mark.basic
def test_set_id_bits_of_what_is_written_to(sshd, rgw, bucket, mount):
    """They go, as on any disk, unless it is root who writes."""
    web1 = sshd("web1")
    theirs = write(os.path.join(web1.files, "f"), b"before")
    os.chmod(theirs, 0o4755)
    m = mount(sshd.ini(web1), rgw.ini(bucket))
    with open(m.host("web1", "f"), "r+b", buffering=0) as f:
        f.write(b"after")
    assert bool(os.stat(theirs).st_mode & stat.S_ISUID) == (os.geteuid() == 0)


def test_touch_lists_anew(rgw, bucket, mount, http_proxy):
    """`touch /models`: the next listing asks S3, whatever list_ttl says, and old names are gone."""
    rgw.put(bucket, "old/v1/model.zip", b"old")
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, list_ttl="1h"))
    assert os.listdir(m.model()) == ["old"]
    assert os.stat(m.model("old", "v1", "model.zip")).st_size == 3
    rgw.put(bucket, "new/v1/model.zip", b"new")
    rgw.client().delete_object(Bucket=bucket, Key="old/v1/model.zip")
    assert os.listdir(m.model()) == ["old"]
    assert len(s3.lists()) == 1
    subprocess.run(["touch", m.model()], check=True)
    assert os.listdir(m.model()) == ["new"]
    assert len(s3.lists()) == 2
    wait_for(lambda: error(os.stat, m.model("old", "v1", "model.zip")) == "ENOENT", 15,
             "the kernel to ask again")
    assert error(os.utime, m.model("new")) == "EROFS"
    assert error(os.chmod, m.model(), 0o700) == "EROFS"


def test_refresh_lists_anew(rgw, bucket, mount, http_proxy):
    """Whatever is written to .scoutfs/refresh, and touching it, does what `touch /models` does."""
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, list_ttl="1h", read_only="no"))
    path = m.path(".scoutfs", "refresh")
    assert os.listdir(m.model()) == [] and read(path) == b""
    for number, command in enumerate(('echo now > "$0"', 'touch "$0"', 'printf 1 >> "$0"',
                                      f'touch "{m.model()}"')):
        rgw.put(bucket, f"m{number}/v1/model.zip", b"new")
        assert f"m{number}" not in os.listdir(m.model())
        listed = len(s3.lists())
        subprocess.run(["sh", "-c", command, path], check=True)
        assert f"m{number}" in os.listdir(m.model())
        assert len(s3.lists()) == listed + 1
    assert error(os.chmod, path, 0o600) == "EROFS"


@pytest.mark.seconds(120)
def test_500_models_are_2_listings(rgw, bucket, mount, http_proxy):
    together([lambda k=k: [rgw.put(bucket, f"id-{n:03}/main/{name}", b"x")
                           for n in range(k, 500, 8)
                           for name in ("config.json", "model.zip", "README.md")]
              for k in range(8)])
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    listed = subprocess.run(["ls", "-lR", m.model()], check=True, stdout=subprocess.PIPE, text=True)
    assert listed.stdout.count("model.zip") == 500
    assert [r.method for r in s3.requests] == ["GET", "GET"] and len(s3.lists()) == 2
    assert m.metric("scoutfs_models_catalogue_bytes") < 1500 * 200


def test_object_versions(rgw, bucket, mount, http_proxy):
    """.versions beside the newest: unlisted, listed by a LIST of its own when looked into, pinned."""
    client = rgw.client()
    rgw.put(bucket, "a/v1/model.zip", content(300_000, 3))  # before there are versions
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def put(key, body):
        return client.put_object(Bucket=bucket, Key=key, Body=body)["VersionId"]
    old = [put("a/v1/model.zip", content(300_000, n)) for n in range(3)] + ["null"]
    client.delete_object(Bucket=bucket, Key="a/v1/model.zip")  # which leaves a marker below newest
    newest = put("a/v1/model.zip", b"newest")
    put("a/v1/README.md", b"only one")
    gone = put("a/v1/gone", b"was here")
    put("a/v2/gone", b"alone")
    for key in ("a/v1/gone", "a/v2/gone"):
        client.delete_object(Bucket=bucket, Key=key)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, versions="yes"))
    subprocess.run(["find", m.model(), "-ls"], check=True, stdout=subprocess.DEVNULL)
    assert len(s3.requests) == 1, "who walks the tree does not walk its past"
    assert os.listdir(m.model("a", "v1")) == ["README.md", "model.zip"]
    versions = m.model("a", "v1", ".versions")
    assert os.path.isdir(versions) and len(s3.requests) == 1
    assert sorted(os.listdir(versions)) == ["gone", "model.zip"]
    assert sorted(os.listdir(f"{versions}/model.zip")) == sorted(old)
    assert [os.stat(f"{versions}/model.zip/{v}").st_size for v in old] == [300_000] * 4
    assert len(s3.requests) == 2, "one LIST told all of them"
    for number, version in enumerate(old):
        assert read(f"{versions}/model.zip/{version}") == content(300_000, number)
        assert os.getxattr(f"{versions}/model.zip/{version}", "user.scoutfs.version_id") == \
            version.encode()
    assert read(f"{versions}/gone/{gone}") == b"was here"
    assert read(f"{versions}/model.zip/{newest}") == b"newest", "not listed, but there"
    assert read(m.model("a", "v1", "model.zip")) == b"newest"
    assert error(os.stat, f"{versions}/model.zip/nonesuch") == "ENOENT"
    assert error(os.listdir, f"{versions}/README.md") == "ENOENT"
    assert os.listdir(m.model(".versions")) == []
    assert error(os.stat, m.model("a", "v2", ".versions")) == "ENOENT", "all in v2 is deleted"
    assert {r.query.partition("versionId=")[2] for r in s3.gets("model.zip")} == \
        {*old, newest, ""}


def test_object_versions_are_verified(rgw, bucket, mount, http_proxy):
    """As the newest is, each by its own checksum."""
    client, data = rgw.client(), [content(300_000, n) for n in range(3)]
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [client.put_object(Bucket=bucket, Key="a/x", Body=one)["VersionId"] for one in data]
    s3 = http_proxy(rgw.port, fault=flipped(77))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, versions="yes"))
    assert error(read, m.model("a", ".versions", "x", ids[0])) == "EIO"
    assert m.metric("scoutfs_models_mismatches_total") == 1
    assert [read(m.model("a", ".versions", "x", one)) for one in ids[:2]] == data[:2]
    assert m.metric("scoutfs_models_verified_total") == 2


def test_versions_no(rgw, bucket, mount):
    rgw.put(bucket, "a/v1/model.zip", b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket))
    assert error(os.stat, m.model("a", "v1", ".versions")) == "ENOENT"
