"""The S3 engine's manners: who is served first, what it does about stalls and overload, where it asks."""

import os

import pytest

from procs import wait_for
from proxy import Answer
from tools import MIB, Background, content, read, sha256

NO_HOSTS = "[hosts]\nssh_config =\n"


def size(request):
    """Of the range that a request asks for."""
    first, last = request.range.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1


def is_bulk(request):
    return request.method == "GET" and request.range is not None and size(request) > 256 << 10


def test_a_small_file_beside_bulk_that_takes_all_it_may(rgw, bucket, mount, http_proxy):
    """However much is asked for, and however long it takes, a config.json goes past it."""
    model, config = content(40 * MIB), content(5000)
    rgw.put(bucket, "a/v1/model.zip", model)
    rgw.put(bucket, "a/v1/config.json", config)
    s3 = http_proxy(rgw.port, lambda r: Answer(hold_after=0) if is_bulk(r) else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=8, part_size="1M"))
    reader = Background([lambda: read(m.model("a", "v1", "model.zip"))])
    wait_for(lambda: s3.held == 6, 20, "bulk in all its connections")
    assert read(m.model("a", "v1", "config.json")) == config
    assert os.listdir(m.model("a")) == ["v1"]
    assert reader.running() == 1 and m.metric("scoutfs_s3_queue_length") > 0
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(model)
    assert s3.body_bytes("model.zip") == len(model) and s3.most <= 8


def test_readers_share_the_connections_in_turn(rgw, bucket, mount, http_proxy):
    """Who came first and asks for much does not keep those waiting who came later."""
    models = [content(4 * MIB, number) for number in range(10)]
    for number, data in enumerate(models):
        rgw.put(bucket, f"m/{number}/model.zip", data)
    s3 = http_proxy(rgw.port, lambda r: Answer(hold_after=0) if is_bulk(r) else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=8, part_size="1M"))
    readers = Background(lambda n=n: read(m.model("m", str(n), "model.zip")) for n in range(10))
    wait_for(lambda: m.metric("scoutfs_requests_total", backend="models", op="open",
                              result="ok") >= 10, 20, "all of them open")
    for _ in range(4):
        wait_for(lambda: s3.held >= 6, 20, "bulk in all its connections")
        s3.release()
    wait_for(lambda: sum(map(is_bulk, s3.requests)) >= 24, 20, "four rounds of six")
    begun = [r.path for r in s3.requests if is_bulk(r)][:24]
    assert len(set(begun)) == 10, begun
    s3.fault = lambda request: None
    wait_for(lambda: s3.release() or readers.running() == 0, 50, "the readers")
    assert [sha256(got) for got in readers.results()] == [sha256(data) for data in models]
