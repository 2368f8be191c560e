"""Objects that came in parts, with a checksum of the parts' checksums.

The gateway keeps none, and knows no parts by their numbers: the proxy before it tells the one, and makes a HEAD of a part one
of its range, which the gateway answers as S3 does.
"""

import base64
import hashlib
import itertools
import os
import zlib

import pytest

from proxy import Answer
from test_models_meta import flipped
from tools import MIB, content, error, read

NO_HOSTS = "[hosts]\nssh_config =\n"
UNIFORM = [5 * MIB, 5 * MIB, 5 * MIB, 2 * MIB + 77]
BY_CHANCE = [6 * MIB, 5 * MIB, 5 * MIB + 99]  # as many as if all were as large as the first
SUMS = {"sha256": lambda data: hashlib.sha256(data).digest(), "sha1": lambda data: hashlib.sha1(data).digest(),
        "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big")}


class Upload:
    """An object in parts: what a HEAD of it tells, and one of a part."""

    def __init__(self, rgw, bucket, sizes, kind="sha256"):
        ends = list(itertools.accumulate(sizes))
        self.ranges = list(zip([0, *ends], ends))
        self.data = content(ends[-1])
        parts = [self.data[begin:end] for begin, end in self.ranges]
        rgw.put_parts(bucket, "a/v1/model.zip", parts)
        summed = SUMS[kind]
        whole = base64.b64encode(summed(b"".join(map(summed, parts)))).decode()
        self.headers = {f"x-amz-checksum-{kind}": f"{whole}-{len(sizes)}", "x-amz-checksum-type": "COMPOSITE"}
        self.knows_parts = True
        self.part = None  # what a HEAD of a part comes to instead
        self.fault = lambda request: None

    def answer(self, request):
        if request.method != "HEAD":
            return self.fault(request)
        if not request.query.startswith("partNumber="):
            return Answer(headers=self.headers) if "x-amz-checksum-mode" in request.headers else None
        if self.knows_parts and not self.part:
            begin, end = self.ranges[int(request.query.partition("=")[2]) - 1]
            request.head += f"\r\nRange: bytes={begin}-{end - 1}"
        return self.part


@pytest.fixture
def start(rgw, bucket, mount, http_proxy):
    """start(sizes) puts an object, and mounts: (what was put, the proxy, the mount, the object's path)."""

    def begin(sizes, kind="sha256", **more):
        upload = Upload(rgw, bucket, sizes, kind)
        s3 = http_proxy(rgw.port, fault=upload.answer)
        m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, **more))
        return upload, s3, m, m.model("a", "v1", "model.zip")
    return begin


def asked(s3):
    """The numbers of the parts that were asked for."""
    return [int(r.query.partition("=")[2]) for r in s3.requests if r.query.startswith("partNumber=")]


def counts(m):
    """(verified, unverified, mismatches)"""
    return tuple(m.metric(f"scoutfs_models_{word}_total") for word in ("verified", "unverified", "mismatches"))


@pytest.mark.parametrize("kind", SUMS)
def test_an_upload_in_parts_is_compared(start, kind):
    """With one question more, which no byte waits for, however often it is read."""
    upload, s3, m, path = start(UNIFORM, kind)
    assert read(path) == upload.data
    before = itertools.takewhile(lambda r: "partNumber" not in r.query, s3.requests)
    assert len([r for r in before if r.range]) <= 1, "it is asked beside the first MiB"
    assert read(path) == upload.data
    assert counts(m) == (1, 0, 0)
    assert asked(s3) == [1]
    assert s3.body_bytes() == len(upload.data)
    assert "user.scoutfs.sha256" not in os.listxattr(path), "which is not that of its bytes"
    assert "checksum" not in m.log()


@pytest.mark.parametrize("kind", ["sha256", "crc32"])
@pytest.mark.parametrize("at", [0, 5 * MIB, 17 * MIB + 76])
def test_one_wrong_byte_in_a_part_is_an_error(start, kind, at):
    """EIO and one line, once the parts are known to be what they were taken for; the next open has the right bytes."""
    upload, s3, m, path = start(UNIFORM, kind)
    upload.fault = flipped(at)
    assert error(read, path) == "EIO"
    assert counts(m) == (0, 0, 1)
    assert asked(s3) == [1, 2, 3]
    assert m.log().count(f"its bytes do not match its checksum, {kind} of 4 parts") == 1
    assert read(path) == upload.data
    assert counts(m) == (1, 0, 1)


def test_parts_of_several_sizes(start):
    """A sound object is no error."""
    upload, s3, m, path = start(BY_CHANCE)
    assert read(path) == upload.data
    assert counts(m) == (0, 1, 0)
    assert asked(s3) == [1, 2]
    assert m.log().count("cannot be compared with its checksum, sha256 of 3 parts: these are of several sizes") == 1


def test_a_server_that_knows_no_parts(start):
    upload, s3, m, path = start(UNIFORM)
    upload.knows_parts = False
    assert read(path) == upload.data
    assert read(path) == upload.data
    assert counts(m) == (0, 1, 0)
    assert asked(s3) == [1]
    assert m.log().count(f"sha256 of 4 parts: by what S3 says, the first one has {len(upload.data)} bytes") == 1


@pytest.mark.parametrize("part", [Answer(status=403), Answer(stall=True)], ids=["403", "silence"])
def test_no_answer_for_a_part(start, part):
    """What is read waits for it no longer than for any answer."""
    upload, s3, m, path = start(UNIFORM, timeout="2s", max_attempts=1)
    upload.part = part
    assert read(path) == upload.data
    assert counts(m) == (0, 1, 0)
    assert asked(s3) == [1]
    assert m.log().count("sha256 of 4 parts: no part can be asked for") == 1


def test_a_400_to_the_head_of_a_part(rgw, bucket, start):
    """Where it may be the token's, the GET that tells is of the part alone: S3 refuses one of a range besides."""
    keys = rgw.role_keys(1)[0]
    upload, s3, m, path = start(UNIFORM, secret=False, access_key_id=keys["AccessKeyId"],
                                secret_access_key=keys["SecretAccessKey"], session_token=keys["SessionToken"])
    s3.fault = lambda r: Answer(status=400) if r.method == "HEAD" and "partNumber" in r.query else upload.answer(r)
    assert read(path) == upload.data
    assert counts(m) == (0, 1, 0)
    assert [(r.method, r.range) for r in s3.requests if "partNumber" in r.query] == \
        [("HEAD", None), ("GET", None), ("HEAD", None)]


def test_wrong_bytes_and_no_answer_for_a_part(start):
    """They are never served."""
    upload, s3, m, path = start(UNIFORM, max_attempts=1)
    upload.fault = flipped(11 * MIB)
    answer = upload.answer

    def fault(request):
        upload.part = Answer(status=403) if "partNumber=2" in request.query else None
        return answer(request)
    s3.fault = fault
    assert error(read, path) == "EIO"
    assert counts(m) == (0, 0, 1)
    assert asked(s3) == [1, 2]
