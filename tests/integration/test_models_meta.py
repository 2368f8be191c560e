"""What the registry tells beside bytes: extended attributes, checksums, versions, listings."""

import os
import subprocess

from tools import content, error, read

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
