"""A registry of very many models: what its listings cost in requests and in memory. Most of it is of a server of our own,
which has a million keys without being given them."""

import concurrent.futures
import http.client
import os
import subprocess

import pytest

from mount import SAN
from s3_server import Models
from tools import MIB

NO_HOSTS = "[hosts]\nssh_config =\n"
PAGE = 1000
NAME_BYTES = 90  # what a name takes, as README says
SPARE = 20 * MIB  # a page and its parser, what malloc keeps of these, and the names that the kernel looked up


def lists(s3):
    """[(prefix, delimiter)…] of those that list a folder or all, by pages; what asks for one name takes fewer."""
    return [(r.query.get("prefix", ""), r.query.get("delimiter")) for r in s3.came("GET", "list-type")
            if int(r.query["max-keys"]) == PAGE]


def organisations(count):
    return [f"org-{number:04}" for number in range(count)]


MODELS = [f"model-{number:03}" for number in range(1000)]


def assert_is_right(m, s3, organisation, model):
    """By what is listed of it, from the root on."""
    assert os.listdir(m.model(organisation)) == MODELS
    assert os.listdir(m.model(organisation, model)) == ["main"]
    found = [(entry.name, entry.stat().st_size) for entry in os.scandir(m.model(organisation, model, "main"))]
    assert found == [(name, len(s3.objects[f"{organisation}/{model}/main/{name}"]))
                     for name in s3.objects.in_order.FILES]


def mount_many(mount, s3, keys, **more):
    """The mount, and the most memory that it had before it was asked for anything."""
    s3.objects = Models(keys)
    m = mount(NO_HOSTS, s3.ini(list_ttl="1h", **more), settings="memory = 16M")
    return m, m.peak_memory()


def assert_memory(m, before, names):
    if not SAN:  # which needs memory of its own
        assert m.peak_memory() - before < names * NAME_BYTES + SPARE


def put_models(port, bucket, numbers):
    """Of no bytes, by whoever may."""
    gateway = http.client.HTTPConnection("127.0.0.1", port)
    for number in numbers:
        gateway.request("PUT", f"/{bucket}/org-{number // 4000:04}/id-{number:06}/model.zip", body=b"")
        answer = gateway.getresponse()
        answer.read()
        assert answer.status == 200, number
    gateway.close()


@pytest.mark.seconds(500)
def test_100000_keys_of_a_gateway(roomy, mount, http_proxy):
    """By its own pages, sorted as it sorts them; some of them have fewer keys than were asked for."""
    count = 20_000 if SAN else 100_000
    bucket = roomy.make_bucket("many")
    roomy.client().put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    with concurrent.futures.ProcessPoolExecutor(8) as pool:
        list(pool.map(put_models, [roomy.port] * 8, [bucket] * 8, [range(k, count, 8) for k in range(8)]))
    s3 = http_proxy(roomy.port)
    m = mount(NO_HOSTS, roomy.ini(bucket, s3.port, list_ttl="1h"), settings="memory = 16M")
    before = m.peak_memory()
    assert os.listdir(m.model()) == organisations(count // 4000)
    for first in (0, count // 2 // 4000 * 4000, count - 4000):
        folder = m.model(f"org-{first // 4000:04}")
        assert os.listdir(folder) == [f"id-{number:06}" for number in range(first, first + 4000)]
        last = os.path.join(folder, f"id-{first + 3999:06}")
        assert [(entry.name, entry.stat().st_size) for entry in os.scandir(last)] == [("model.zip", 0)]
    pages = {request.query for request in s3.lists()}
    assert len(s3.requests) == len(s3.lists()) == len(pages) < 2 * count // PAGE, "each of them once"
    assert m.metric("scoutfs_models_catalogue_keys") == count
    assert_memory(m, before, count)


@pytest.mark.seconds(200)
def test_100000_keys_all_together(s3, mount):
    """Who looks at all that is in some folders waits for the pages of all keys, once, and for nothing else."""
    m, before = mount_many(mount, s3, 100_000)
    assert os.listdir(m.model()) == organisations(25)
    assert lists(s3) == [("", None)] * 100
    listed = subprocess.run(["ls", "-lR", m.model("org-0000"), m.model("org-0012"), m.model("org-0024")],
                            capture_output=True, text=True, timeout=150, check=True)
    lines = listed.stdout.splitlines()
    sizes = [(words[-1], int(words[4])) for words in map(str.split, lines) if words and words[0][0] == "-"]
    keys = s3.objects.in_order
    assert sizes == [(os.path.basename(keys[n]), n % 97) for first in (0, 48_000, 96_000)
                     for n in range(first, first + 4000)]
    assert sum(line.startswith("d") for line in lines) == 3 * 2000
    for organisation, model in (("org-0000", "model-000"), ("org-0013", "model-500"), ("org-0024", "model-999")):
        assert_is_right(m, s3, organisation, model)
    assert os.stat(m.model("org-0020", "model-500", "main", "model.zip")).st_size == 82_002 % 97
    assert s3.came("GET") == s3.requests and len(s3.requests) == 100
    assert_memory(m, before, 100_000)


@pytest.mark.seconds(200)
def test_a_million_keys_by_folder(s3, mount):
    """All of them are given up where they prove to be too many; from then on a folder's listing is one request."""
    most = 200_000  # by default
    m, before = mount_many(mount, s3, 1_000_000)
    assert os.listdir(m.model()) == organisations(250)
    assert lists(s3) == [("", None)] * (most // PAGE + 1) + [("", "/")]
    assert f"more than {most} keys (list_max_keys): by directory" in m.status()
    del s3.requests[:]
    for organisation, model in (("org-0000", "model-000"), ("org-0125", "model-500"), ("org-0249", "model-999")):
        for _ in range(2):
            assert_is_right(m, s3, organisation, model)
    assert lists(s3) == [(prefix, "/") for o, v in (("0000", "000"), ("0125", "500"), ("0249", "999"))
                         for prefix in (f"org-{o}/", f"org-{o}/model-{v}/", f"org-{o}/model-{v}/main/")]
    assert_memory(m, before, most)


@pytest.mark.seconds(230)
def test_a_million_keys_all_together(s3, mount):
    """Where that many may be kept."""
    keys = 200_000 if SAN else 1_000_000
    m, before = mount_many(mount, s3, keys, list_max_keys=keys)
    assert os.listdir(m.model()) == organisations(keys // 4000)
    for organisation in (0, keys // 8000, keys // 4000 - 1):
        assert_is_right(m, s3, f"org-{organisation:04}", "model-500")
    assert lists(s3) == [("", None)] * (keys // PAGE) and len(s3.requests) == keys // PAGE
    assert m.metric("scoutfs_models_catalogue_keys") == keys
    assert_memory(m, before, keys)
