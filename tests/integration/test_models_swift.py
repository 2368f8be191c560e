"""Swift's S3 API as a second opinion, for what radosgw takes too easily: signing, listing, ranges."""

import os

from proxy import Answer
from tools import MIB, content, error, read, sha256

NO_HOSTS = "[hosts]\nssh_config =\n"
ODD_KEYS = ["a b/c+d", "ü/日", "50%/x&y=z", "tilde~/(1)!*'", "x;y/a,b", "q?/#", "=/@:$"]


def bucket_of(swift, name, objects):
    client = swift.client()
    client.create_bucket(Bucket=name)
    for key, body in objects.items():
        client.put_object(Bucket=name, Key=key, Body=body)
    return name


def test_signing_of_odd_keys(swift, mount):
    """Of names, prefixes and ranges with every kind of byte; a wrong key is refused."""
    bucket = bucket_of(swift, "odd-keys", {key: key.encode() for key in ODD_KEYS})
    m = mount(NO_HOSTS, swift.ini(bucket))
    for key in ODD_KEYS:
        assert read(m.model(*key.split("/"))) == key.encode()
        assert os.listdir(m.model(key.split("/")[0])) == [key.split("/")[1]]
    wrong = mount(NO_HOSTS, swift.ini(bucket, secret_access_key="wrong"))
    assert error(os.listdir, wrong.model()) == "EACCES"
    assert error(read, wrong.model(*ODD_KEYS[0].split("/"))) == "EACCES"
    assert "SignatureDoesNotMatch" in wrong.log()


def test_listing(swift, mount, http_proxy):
    """Page by page, and folder by folder; what is not there is not there."""
    ids = [f"id {number}+" for number in range(10)]
    keys = [f"{name}/v{version}/model.zip" for name in ids for version in range(3)]
    bucket = bucket_of(swift, "listing", dict.fromkeys(keys, b"x"))
    s3 = http_proxy(swift.port)
    for more in ({}, {"list_max_keys": 20}):
        m = mount(NO_HOSTS, swift.ini(bucket, s3.port, **more))
        assert sorted(os.listdir(m.model())) == ids
        assert sorted(os.listdir(m.model(ids[7]))) == ["v0", "v1", "v2"]
        assert os.listdir(m.model(ids[7], "v1")) == ["model.zip"]
        assert error(os.stat, m.model("id 10+")) == "ENOENT"
    assert len([r for r in s3.lists() if "continuation-token" in r.query]) > swift.page / 2
    assert [r for r in s3.lists() if "delimiter" in r.query]


def test_ranges(swift, mount, http_proxy):
    """In parts that are pinned to the ETag, and from where a body was cut."""
    data = content(7 * MIB + 3)
    bucket = bucket_of(swift, "ranges", {"a/v1/model.zip": data})
    cuts = []

    def fault(request):
        if request.range and not cuts:
            cuts.append(request)
            return Answer(cut_after=100_000, reset=False)
        return None

    s3 = http_proxy(swift.port, fault)
    m = mount(NO_HOSTS, swift.ini(bucket, s3.port, part_size="1M"))
    assert sha256(read(m.model("a", "v1", "model.zip"))) == sha256(data)
    assert s3.body_bytes() == len(data)
    assert {r.status for r in s3.gets()} == {206}
    swift.client().put_object(Bucket=bucket, Key="a/v1/model.zip", Body=b"new")
    assert read(m.model("a", "v1", "model.zip")) == b"new"


def test_the_wrong_region_is_corrected(swift, mount):
    """Refused by its error's words, and signed for the right one from then on."""
    bucket = bucket_of(swift, "region", {"a/v1/model.zip": b"x"})
    m = mount(NO_HOSTS, swift.ini(bucket, region="eu-west-1"))
    assert read(m.model("a", "v1", "model.zip")) == b"x"
    assert os.listdir(m.model("a")) == ["v1"]
    assert m.log().count("is in region us-east-1, not eu-west-1") == 1
