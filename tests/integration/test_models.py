"""The registry: many readers, one fetch; bounded connections and memory; listings; ways to log in."""

import os
import re
import subprocess
import time

import pytest

from mount import BINARY, SLOWER, clean_env
from procs import wait_for
from rgw import Rgw
from tools import MIB, Background, content, error, read, sha256, together, write

NO_HOSTS = "[hosts]\nssh_config =\n"
MODEL = "performance/arnir0_Tiny-LLM/main/model.zip"
MODEL_BYTES = 24834009


@pytest.mark.seconds(120)
def test_100_processes_read_one_model(rgw, bucket, mount, http_proxy):
    data = content(MODEL_BYTES)
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port), settings="memory = 64M")
    idle = m.peak_memory()
    readers = [subprocess.Popen(["sha256sum", m.model(MODEL)], stdout=subprocess.PIPE, text=True)
               for _ in range(100)]
    sums = {reader.communicate(timeout=100)[0].split(" ")[0] for reader in readers}
    assert sums == {sha256(data)}
    assert s3.body_bytes("model.zip") == MODEL_BYTES, s3.gets("model.zip")
    assert len(s3.gets("model.zip")) > 1, "one connection must not carry it all"
    assert m.metric("scoutfs_buffer_bytes") <= 64 * MIB
    # it is there once, however many read it, and each connection has its part of an eighth
    m.assert_grown_within(idle, MODEL_BYTES, beside=s3.most * (64 * MIB // 8 // 150))


@pytest.mark.seconds(120)
def test_100_objects_over_10_connections(rgw, bucket, mount, http_proxy):
    for number in range(100):
        rgw.put(bucket, f"m/{number}/model.zip", content(300_000, number))
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=10))
    got = together(lambda n=n: read(m.model("m", str(n), "model.zip")) for n in range(100))
    assert got == [content(300_000, n) for n in range(100)]
    assert 1 < s3.most <= 10
    assert s3.body_bytes() == 100 * 300_000


def test_memory_smaller_than_the_object(rgw, bucket, mount, http_proxy):
    data = content(100 * MIB)
    rgw.put(bucket, "big/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port), settings="memory = 16M")
    assert sha256(read(m.model("big", "v1", "model.zip"))) == sha256(data)
    assert m.metric("scoutfs_buffer_bytes") <= 16 * MIB
    assert s3.body_bytes("model.zip") <= 110 * MIB


@pytest.mark.seconds(120)
def test_100_readers_of_100_objects_in_little_memory(rgw, bucket, mount, http_proxy):
    sizes = [300_000 + 50_021 * n for n in range(100)]
    together([lambda k=k: [rgw.put(bucket, f"m/{n}/model.zip", content(sizes[n], n))
                           for n in range(k, 100, 8)] for k in range(8)])
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=10), settings="memory = 16M")
    idle = m.peak_memory()
    readers = [subprocess.Popen(["sha256sum", m.model("m", str(n), "model.zip")],
                                stdout=subprocess.PIPE, text=True) for n in range(100)]
    sums = [reader.communicate(timeout=100)[0].split(" ")[0] for reader in readers]
    assert sums == [sha256(content(sizes[n], n)) for n in range(100)]
    assert s3.most <= 10
    assert s3.body_bytes() < 1.3 * sum(sizes), "thrashing"
    assert m.metric("scoutfs_buffer_bytes") <= 16 * MIB
    m.assert_grown_within(idle, 16 * MIB)


@pytest.mark.seconds(240)
def test_100_readers_of_100_models_of_a_gigabyte(roomy, mount):
    """Within 64M, only slower: what they read is right wherever they stand, nobody is left waiting, and who reads all
    of an object whose ETag is an MD5 has it compared."""
    base, bucket = content(16 * MIB), roomy.make_bucket("models")
    parts = [base[k * 4099:] + base[:k * 4099] for k in range(8)] * 8
    roomy.put_parts(bucket, "m/0/model.zip", parts)
    roomy.put(bucket, "m/99/model.zip", b"".join(parts))
    together([lambda k=k: [roomy.copy(bucket, f"m/{0 if n < 98 else 99}/model.zip", f"m/{n}/model.zip")
                           for n in range(k, 99, 8)] for k in range(1, 9)])
    m = mount(NO_HOSTS, roomy.ini(bucket), settings="memory = 64M")
    idle = m.peak_memory()

    def is_right(n):
        """All of it, or 16 MiB somewhere."""
        first, count = (0, 1024) if n >= 98 else (n % 60 * 16 + n % 16, 16)
        with open(m.model("m", str(n), "model.zip"), "rb", buffering=0) as f:
            f.seek(first * MIB)
            return all(f.read(MIB) == parts[k // 16][k % 16 * MIB:(k % 16 + 1) * MIB]
                       for k in range(first, first + count))

    readers = Background(lambda n=n: is_right(n) for n in range(100))
    while readers.running():
        assert m.metric("scoutfs_buffer_bytes") <= 64 * MIB
        time.sleep(0.05)
    assert readers.results() == [True] * 100
    assert m.metric("scoutfs_models_verified_total") == 2
    assert m.metric("scoutfs_models_unverified_total") == 0
    m.assert_grown_within(idle, 64 * MIB)


def test_the_end_of_a_zip_costs_little(rgw, bucket, mount, http_proxy):
    """Random small reads do not fetch the whole."""
    data = content(50 * MIB)
    rgw.put(bucket, "z/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    fd = os.open(m.model("z", "v1", "model.zip"), os.O_RDONLY)
    try:
        assert os.pread(fd, 22, len(data) - 22) == data[-22:]
        assert os.pread(fd, 500, 30 * MIB) == data[30 * MIB:30 * MIB + 500]
    finally:
        os.close(fd)
    assert s3.body_bytes("model.zip") < 12 * MIB, s3.gets()


def test_2500_keys_are_paged(rgw, bucket, mount, http_proxy):
    together([lambda k=k: [rgw.put(bucket, f"id-{n:04}/v1/model.zip", b"x" * (n % 90))
                           for n in range(k, 2500, 8)] for k in range(8)])
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert os.listdir(m.model()) == [f"id-{n:04}" for n in range(2500)]
    assert len(s3.lists()) == 3
    for number in (0, 999, 1000, 2499):
        path = m.model(f"id-{number:04}", "v1")
        assert [(e.name, e.stat().st_size) for e in os.scandir(path)] == [("model.zip", number % 90)]
    assert len(s3.lists()) == 3, "the listing is shared"


def test_beyond_list_max_keys(rgw, bucket, mount):
    """Folders are listed one by one, and all is still there."""
    for number in range(60):
        rgw.put(bucket, f"id-{number // 5:02}/v{number % 5}/model.zip", content(500, number))
    m = mount(NO_HOSTS, rgw.ini(bucket, list_max_keys=20))
    assert os.listdir(m.model()) == [f"id-{n:02}" for n in range(12)]
    for number in (0, 31, 59):
        assert os.listdir(m.model(f"id-{number // 5:02}")) == [f"v{n}" for n in range(5)]
        assert read(m.model(f"id-{number // 5:02}", f"v{number % 5}", "model.zip")) == \
            content(500, number)


def test_one_listing_for_all_who_ask(rgw, bucket, mount, http_proxy):
    for number in range(30):
        rgw.put(bucket, f"id-{number}/v1/model.zip", b"x")
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    got = together(lambda: len(os.listdir(m.model())) for _ in range(30))
    assert got == [30] * 30
    assert len(s3.lists()) == 1


def test_what_is_published_is_there_at_once(rgw, bucket, mount):
    """By its path, also for who has just looked for it in vain."""
    rgw.put(bucket, "old/v1/model.zip", b"old")
    m = mount(NO_HOSTS, rgw.ini(bucket, list_ttl="1h"))
    assert os.listdir(m.model()) == ["old"]
    for path in ("new/v1/model.zip", "new/v2/model.zip", "old/v1/config.json", "old/v2/config.json"):
        assert error(os.stat, m.model(path)) == "ENOENT"
        rgw.put(bucket, path, path.encode())
        assert read(m.model(path)) == path.encode()


def test_what_another_publishes_is_there_in_a_moment(rgw, bucket, mount):
    """In a mount that publishes, which remembers for a moment what it has just looked for in vain."""
    rgw.put(bucket, "old/v1/model.zip", b"old")
    m = mount(NO_HOSTS, rgw.ini(bucket, list_ttl="1h", read_only="no"))
    for path in ("new/v1/model.zip", "old/v1/config.json"):
        assert error(os.stat, m.model(path)) == "ENOENT"
        rgw.put(bucket, path, path.encode())
        time.sleep(0.15)
        assert read(m.model(path)) == path.encode()


def test_list_ttl(rgw, bucket, mount):
    rgw.put(bucket, "old/v1/model.zip", b"old")
    m = mount(NO_HOSTS, rgw.ini(bucket, list_ttl="1s"))
    assert os.listdir(m.model()) == ["old"]
    rgw.put(bucket, "new/v1/model.zip", b"new")
    wait_for(lambda: os.listdir(m.model()) == ["new", "old"], 3 * SLOWER, "a new listing")
    rgw.client().delete_object(Bucket=bucket, Key="old/v1/model.zip")
    wait_for(lambda: os.listdir(m.model()) == ["new"], 3 * SLOWER, "a new listing")


def test_prefix(rgw, bucket, mount):
    rgw.put(bucket, "registry/a/v1/model.zip", b"in")
    rgw.put(bucket, "registry2/b/v1/model.zip", b"out")
    rgw.put(bucket, "elsewhere", b"out")
    m = mount(NO_HOSTS, rgw.ini(bucket, prefix="registry/"))
    assert os.listdir(m.model()) == ["a"]
    assert read(m.model("a", "v1", "model.zip")) == b"in"
    assert error(os.stat, m.model("b")) == "ENOENT"


def test_a_prefix_with_nothing_in_it(rgw, bucket, mount):
    m = mount(NO_HOSTS, rgw.ini(bucket, prefix="none/such/"))
    assert os.listdir(m.model()) == []
    assert error(os.stat, m.model("a")) == "ENOENT"
    rgw.put(bucket, "none/such/a/v1/model.zip", b"now")
    wait_for(lambda: error(read, m.model("a", "v1", "model.zip")) == "ok", 15, "the new model")
    assert os.listdir(m.model("a")) == ["v1"]


def test_a_deleted_object(rgw, bucket, mount):
    """Not to be opened any more, though a listing of before still names it."""
    for key in ("a/v1/model.zip", "a/v1/stays"):
        rgw.put(bucket, key, b"x")
    m = mount(NO_HOSTS, rgw.ini(bucket, list_ttl="1s"))
    assert os.listdir(m.model("a", "v1")) == ["model.zip", "stays"]
    rgw.client().delete_object(Bucket=bucket, Key="a/v1/model.zip")
    assert error(read, m.model("a", "v1", "model.zip")) == "ENOENT"
    wait_for(lambda: os.listdir(m.model("a", "v1")) == ["stays"], 15, "a new listing")


@pytest.mark.basic
def test_every_object_beside_the_model(rgw, bucket, mount):
    for key in ("a/v1/model.zip", "a/v1/README.md", "a/v1/weights/part-0", "a/v2/model.zip", "top"):
        rgw.put(bucket, key, key.encode())
    m = mount(NO_HOSTS, rgw.ini(bucket))
    found = sorted(os.path.relpath(os.path.join(folder, name), m.model())
                   for folder, _, names in os.walk(m.model()) for name in names)
    assert found == ["a/v1/README.md", "a/v1/model.zip", "a/v1/weights/part-0", "a/v2/model.zip",
                     "top"]
    for key in found:
        assert read(m.model(key)) == key.encode()
    when = rgw.client().head_object(Bucket=bucket, Key="top")["LastModified"].timestamp()
    assert os.stat(m.model("top")).st_mtime == when
    assert error(lambda: os.open(m.model("top"), os.O_WRONLY)) == "EROFS"


@pytest.mark.parametrize("part_size", ["1M", "5M"])
def test_part_sizes(rgw, bucket, mount, http_proxy, part_size):
    data = content(12 * MIB + 1)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size=part_size))
    assert read(m.model("a", "v1", "model.zip")) == data
    assert s3.body_bytes() == len(data)
    for request in s3.gets():
        # the first goes out beside the question for the ETag
        assert "if-match" in request.headers or request.range.startswith("bytes=0-"), request


def test_pages_stay_while_the_etag_holds(rgw, bucket, mount, http_proxy):
    data = content(3 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    for _ in range(5):
        assert read(m.model("a", "v1", "model.zip")) == data
    assert s3.body_bytes() == len(data)


class TestCredentials:
    @pytest.fixture
    def bare(self, rgw, bucket):
        rgw.put(bucket, "a/v1/model.zip", b"found")
        return NO_HOSTS + rgw.ini(bucket, secret=False)

    def test_environment(self, rgw, bare, mount):
        m = mount(bare, env={"AWS_ACCESS_KEY_ID": rgw.access_key,
                             "AWS_SECRET_ACCESS_KEY": rgw.secret_key})
        assert read(m.model("a", "v1", "model.zip")) == b"found"

    @pytest.mark.parametrize("profile", ["default", "models"])
    def test_profiles(self, rgw, bare, mount, profile):
        m = mount(bare + (f"profile = {profile}\n" if profile != "default" else ""), run=False)
        write(os.path.join(m.home, ".aws", "credentials"),
              (f"[other]\naws_access_key_id = WRONG\naws_secret_access_key = wrong\n"
               f"[{profile}]\naws_access_key_id={rgw.access_key}\n"
               f"aws_secret_access_key = {rgw.secret_key}\n").encode())
        m.start()
        assert read(m.model("a", "v1", "model.zip")) == b"found"

    def test_anonymous(self, rgw, bare, bucket, mount):
        m = mount(bare)
        assert error(os.listdir, m.model()) == "EACCES"
        rgw.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
        rgw.client().put_object_acl(Bucket=bucket, Key="a/v1/model.zip", ACL="public-read")
        m = mount(bare)
        assert read(m.model("a", "v1", "model.zip")) == b"found"

    def test_no_secret_is_shown(self, rgw, bucket, mount):
        rgw.put(bucket, "a/v1/model.zip", b"found")
        m = mount(NO_HOSTS, rgw.ini(bucket))
        assert read(m.model("a", "v1", "model.zip")) == b"found"
        assert error(os.listdir, m.model("missing")) == "ENOENT"
        with open(f"/proc/{m.process.pid}/cmdline", encoding="utf-8") as f:
            told = f.read() + m.log() + m.status() + read(m.path(".scoutfs", "metrics")).decode()
        checked = subprocess.run([BINARY, "--check", m.ini_path], env=m.env, check=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        assert "secret_access_key = ****" in checked.stdout
        told += checked.stdout
        assert rgw.secret_key not in told
        assert not re.search(r"Signature=|Authorization", told)


@pytest.mark.parametrize("alias", [None, "models-a1b2c3-s3alias"], ids=["bucket", "alias"])
def test_virtual_host_style(rgw, bucket, mount, http_proxy, alias):
    """The bucket in the host name, or an access point's alias, which only http_proxy's proxy can resolve."""
    bucket = rgw.make_bucket(alias) if alias else bucket
    rgw.put(bucket, "a/v1/model.zip", b"found")
    s3 = http_proxy(rgw.port)
    ini = NO_HOSTS + rgw.ini(bucket, path_style="no").replace("127.0.0.1", "s3.test")
    m = mount(ini, env={"http_proxy": f"http://127.0.0.1:{s3.port}"})
    assert read(m.model("a", "v1", "model.zip")) == b"found"
    assert {r.headers["host"] for r in s3.requests} == {f"{bucket}.s3.test:{rgw.port}"}
    assert not [r for r in s3.requests if bucket in r.path]


def test_dual_stack(folder, mount, http_proxy):
    """AWS's host name for both kinds of addresses is asked, by a gateway that takes signatures of that name alone."""
    dual = "s3.dualstack.us-east-1.amazonaws.com"
    path = os.path.join(folder, "rgw")
    os.mkdir(path)
    server = Rgw(path, 256 * MIB, dual)
    try:
        server.start().put(server.make_bucket("models"), "a/v1/model.zip", b"found")
        s3 = http_proxy(server.port)
        ini = server.ini("models", dual_stack="yes", path_style="no")
        m = mount(NO_HOSTS, ini.replace(f"127.0.0.1:{server.port}", "s3.us-east-1.amazonaws.com"),
                  env={"http_proxy": f"http://127.0.0.1:{s3.port}"})
        assert os.listdir(m.model("a")) == ["v1"]
        assert read(m.model("a", "v1", "model.zip")) == b"found"
        assert {r.headers["host"] for r in s3.requests} == {f"models.{dual}"}
    finally:
        server.stop()


def test_https_with_a_ca_of_our_own(rgw, bucket, mount, folder):
    """AWS_CA_BUNDLE is believed; without it the certificate is refused."""
    from tls import TlsProxy
    rgw.put(bucket, "a/v1/model.zip", content(3 * MIB))
    front = TlsProxy(folder, rgw.port).start()
    try:
        ini = NO_HOSTS + rgw.ini(bucket).replace(f"http://127.0.0.1:{rgw.port}",
                                                 f"https://127.0.0.1:{front.port}")
        m = mount(ini, env={"AWS_CA_BUNDLE": front.ca})
        assert read(m.model("a", "v1", "model.zip")) == content(3 * MIB)
        stranger = mount(ini + "max_attempts = 1\n")
        assert error(os.listdir, stranger.model()) in ("EIO", "EACCES")
    finally:
        front.stop()


def test_env_of_tests_is_clean():
    """Whatever the machine's AWS and proxy settings are, the daemon of a test does not see them."""
    assert [n for n in clean_env("/nonexistent") if n.startswith("AWS") or "proxy" in n.lower()] == \
        ["AWS_EC2_METADATA_DISABLED"]
