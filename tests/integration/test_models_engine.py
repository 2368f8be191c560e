"""The S3 engine's manners: who is served first, what it does about stalls and overload, where it asks."""

import os

import pytest

from procs import wait_for
from proxy import Answer
from tools import MIB, Background, content, error, read, sha256, timed

NO_HOSTS = "[hosts]\nssh_config =\n"


def size(request):
    """Of the range that a request asks for."""
    first, last = request.range.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1


def start(request):
    return int(request.range.removeprefix("bytes=").split("-")[0])


def is_bulk(request):
    return request.method == "GET" and request.range is not None and size(request) > 256 << 10


def test_a_small_file_beside_bulk_that_takes_all_it_may(rgw, bucket, mount, http_proxy):
    """However much is asked for, and however long it takes, a config.json goes past it."""
    model, config = content(40 * MIB), content(5000)
    rgw.put(bucket, "a/v1/model.zip", model)
    rgw.put(bucket, "a/v1/config.json", config)
    s3 = http_proxy(rgw.port, lambda r: Answer(hold_after=0) if is_bulk(r) and start(r) > 0 else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=8, part_size="1M"))
    reader = Background([lambda: read(m.model("a", "v1", "model.zip"))])
    wait_for(lambda: s3.held >= 6, 20, "bulk in all its connections")
    assert read(m.model("a", "v1", "config.json")) == config
    assert os.listdir(m.model("a")) == ["v1"]
    assert reader.running() == 1
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(model)
    # what was held for long was asked for again
    assert len({r.range for r in s3.gets("model.zip")}) == 40 and s3.most <= 8


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


class Once:
    """A fault for the first request that matches."""

    def __init__(self, matches, **answer):
        self.matches, self.answer, self.request = matches, answer, None

    def __call__(self, request):
        if self.request or not self.matches(request):
            return None
        self.request = request
        return Answer(**self.answer)


def last(request):
    return request.range.partition("-")[2]


HANGS = {"in mid-body": {"hold_after": 300_000}, "before a byte": {"stall": True}}


class Nth:
    """A fault for the first attempts of the first call that matches, one after the other."""

    def __init__(self, matches, *answers):
        self.matches, self.answers, self.requests = matches, list(answers), []

    def __call__(self, request):
        first = self.requests[0] if self.requests else None
        if not (request.call == first.call if first else self.matches(request)) or not self.answers:
            return None
        self.requests.append(request)
        return self.answers.pop(0)


@pytest.mark.parametrize("how", HANGS)
def test_a_get_that_hangs_is_hedged(rgw, bucket, mount, http_proxy, how):
    """Its rest comes by a second request, long before `timeout`, and nothing comes twice."""
    data = content(6 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    hung = Once(is_bulk, **HANGS[how])
    s3 = http_proxy(rgw.port, hung)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="8M"))
    assert read(m.model("a", "v1", "model.zip")) == data
    assert m.metric("scoutfs_s3_retries_total") == 0
    one = hung.request
    other, = [r for r in s3.hedges if r.call == one.call]
    # the one was sent beside the question for the ETag, the other pins it
    assert other.headers["if-match"] == s3.gets()[-1].headers["if-match"] and last(other) == last(one)
    assert other.headers["amz-sdk-request"] == "attempt=2; max=3"
    assert size(other) == size(one) - one.body_bytes, "the rest, and no more"
    assert s3.body_bytes() == len(data)
    assert f"{m.metric('scoutfs_s3_hedges_total'):.0f} hedges (" in m.status()
    assert m.metric("scoutfs_s3_hedges_won_total") >= 1
    wait_for(lambda: m.metric("scoutfs_s3_active") == 0, 5, "the end of the first request")


def test_a_get_that_hangs_again_is_hedged_again(rgw, bucket, mount, http_proxy):
    """Its twin may hang, too, when it has brought a MiB."""
    data = content(40 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    hung = Nth(lambda r: is_bulk(r) and size(r) == 3 * MIB,
               Answer(hold_after=300_000), Answer(hold_after=2 * MIB))
    s3 = http_proxy(rgw.port, hung)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, read_window="32M", timeout="40s"))
    got, seconds = timed(read, m.model("a", "v1", "model.zip"))
    assert sha256(got) == sha256(data) and seconds < 30
    assert m.metric("scoutfs_s3_retries_total") == 0 and m.metric("scoutfs_s3_hedges_won_total") >= 2
    one, two = hung.requests
    assert start(two) == start(one) + one.body_bytes
    assert start(two) + two.body_bytes in [start(r) for r in s3.hedges if r.call == one.call]
    assert s3.body_bytes() == len(data)


def test_a_get_hangs_beside_its_question(rgw, bucket, mount, http_proxy):
    """It is asked for once more when the question's own second request has told its version."""
    data = content(MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, timeout="50s"))
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]
    s3.fault = lambda r: Answer(stall=True) if "attempt=1;" in r.headers["amz-sdk-request"] else None
    assert read(m.model("a", "v1", "model.zip")) == data
    assert m.metric("scoutfs_s3_retries_total") == 0
    assert {"HEAD", "GET"} <= {r.method for r in s3.hedges}


def test_a_question_that_hangs_is_hedged(rgw, bucket, mount, http_proxy):
    """HEAD and LIST, too; but not where nothing was ever answered: that endpoint is down."""
    rgw.put(bucket, "a/v1/model.zip", b"x")
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, list_ttl="0s"))
    os.listdir(m.model())
    for number, method in enumerate(("GET", "HEAD"), 1):
        s3.fault = Once(lambda r, method=method: r.method == method, stall=True)
        assert os.listdir(m.model("a", "v1")) == ["model.zip"]
        assert read(m.model("a", "v1", "model.zip")) == b"x"
        assert s3.fault.request
        assert m.metric("scoutfs_s3_hedges_won_total") >= number


def test_hedges_are_few(rgw, bucket, mount, http_proxy):
    """An endpoint that hangs as a whole is not asked for everything once more."""
    data = content(20 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    rgw.put(bucket, "a/v1/config.json", b"{}")
    s3 = http_proxy(rgw.port, lambda r: Answer(hold_after=0) if is_bulk(r) else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="1M", max_connections=20))
    reader = Background([lambda: read(m.model("a", "v1", "model.zip"))])
    wait_for(lambda: any(map(is_bulk, s3.hedges)), 20, "a hedge")
    for _ in range(20):
        assert read(m.model("a", "v1", "config.json")) == b"{}"
    assert sum(map(is_bulk, s3.hedges)) == 1 and s3.most <= 20
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(data)


FAILS = {"hangs": ({"stall": True}, "ETIMEDOUT"), "is refused": ({"status": 500}, "EIO")}


@pytest.mark.parametrize("how", FAILS)
def test_a_call_has_its_attempts_and_no_more(rgw, bucket, mount, http_proxy, how):
    """Of which a hedge is one; they are numbered."""
    answer, word = FAILS[how]
    rgw.put(bucket, "a/v1/model.zip", content(MIB))
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, timeout="2s", max_attempts=3))
    assert os.listdir(m.model("a", "v1")) == ["model.zip"]
    s3.fault = lambda r: Answer(**answer) if r.range else None
    with open(m.model("a", "v1", "model.zip"), "rb", buffering=0) as f:
        assert error(f.read, 4096) == word
    wait_for(lambda: m.metric("scoutfs_s3_active") == 0, 20, "the end of its requests")
    attempts = {}
    for request in sorted([*s3.gets("model.zip"), *s3.hedges], key=lambda r: r.at):
        attempts.setdefault(request.call, []).append(request.headers["amz-sdk-request"])
    numbered = [f"attempt={number}; max=3" for number in (1, 2, 3)]
    assert attempts[s3.gets("model.zip")[0].call] == numbered
    assert all(found == numbered[:len(found)] for found in attempts.values()), attempts
    assert how == "is refused" or s3.hedges


def test_a_get_that_is_far_slower_than_its_siblings_is_hedged(rgw, bucket, mount, http_proxy):
    models = [content(1_000_000, number) for number in range(8)]
    for number, data in enumerate(models):
        rgw.put(bucket, f"m/{number}/model.zip", data)
    slow, seen = Once(is_bulk, bytes_per_s=10_000), set()

    def fault(request):
        if not is_bulk(request) or (request.path, last(request)) in seen:
            return None
        seen.add((request.path, last(request)))
        return slow(request) or Answer(bytes_per_s=270_000)

    s3 = http_proxy(rgw.port, fault)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    readers = Background(lambda n=n: read(m.model("m", str(n), "model.zip")) for n in range(8))
    assert [sha256(got) for got in readers.results()] == [sha256(data) for data in models]
    assert m.metric("scoutfs_s3_hedges_won_total") >= 1
    assert slow.request.body_bytes < size(slow.request), "the slow one was given up"
    assert m.metric("scoutfs_s3_retries_total") == 0


def test_a_get_that_is_far_slower_than_those_that_ended_is_hedged(rgw, bucket, mount, http_proxy):
    """Also when it is left alone with its reader: its siblings took a moment."""
    data = content(30 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    slow = Once(lambda r: is_bulk(r) and start(r) > 0, bytes_per_s=20_000)
    s3 = http_proxy(rgw.port, slow)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="2M"))
    got, seconds = timed(read, m.model("a", "v1", "model.zip"))
    assert sha256(got) == sha256(data)
    assert seconds < size(slow.request) / 20_000 / 3
    assert m.metric("scoutfs_s3_hedges_won_total") >= 1
    assert slow.request.body_bytes < size(slow.request) / 3, "the slow one was given up"
    assert m.metric("scoutfs_s3_retries_total") == 0


def test_a_body_that_trickles_ends(rgw, bucket, mount, http_proxy):
    """A byte now and then keeps no request alive for longer than silence would."""
    data = content(MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port, lambda r: Answer(bytes_per_s=20) if is_bulk(r) else None)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, timeout="1s", max_attempts=2))
    assert error(read, m.model("a", "v1", "model.zip")) == "ETIMEDOUT"
    assert "hardly a byte for 1 s" in m.log()
    wait_for(lambda: m.metric("scoutfs_s3_active") == 0, 20, "the end of its requests")
    s3.fault = lambda request: None
    wait_for(lambda: error(read, m.model("a", "v1", "model.zip")) == "ok", 20, "recovery")
    assert read(m.model("a", "v1", "model.zip")) == data


def test_slow_down(rgw, bucket, mount, http_proxy):
    """Fewer requests at once when the endpoint asks for it; and more again as it answers."""
    data = content(20 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    busy = Once(is_bulk, status=503, code="SlowDown")
    s3 = http_proxy(rgw.port, lambda r: is_bulk(r) and (busy(r) or Answer(hold_after=0)))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="1M", max_connections=16))
    reader = Background([lambda: read(m.model("a", "v1", "model.zip"))])
    wait_for(lambda: m.metric("scoutfs_s3_requests_max") < 16, 20, "fewer requests")
    assert m.metric("scoutfs_s3_slow_downs_total") == m.metric("scoutfs_s3_retries_total") == 1
    assert "asked for 1 times" in m.status() and "asks to slow down" in m.log()
    s3.fault = lambda request: None
    s3.release()
    assert sha256(reader.results()[0]) == sha256(data)
    wait_for(lambda: read(m.model("a", "v1", "model.zip")) == data and
             m.metric("scoutfs_s3_requests_max") == 16, 20, "as many as before")


@pytest.mark.parametrize("asked, least", [("1", 1), ("60", 5)])
def test_retry_after(rgw, bucket, mount, http_proxy, asked, least):
    """As long as the server says, up to 5 s."""
    data = content(MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    busy = Once(is_bulk, status=429, headers={"Retry-After": asked})
    s3 = http_proxy(rgw.port, busy)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    got, seconds = timed(read, m.model("a", "v1", "model.zip"))
    assert got == data and least <= seconds < 40


def test_a_chunked_body_that_is_cut_is_resumed(rgw, bucket, mount, http_proxy):
    """Where it stopped, though no length was told."""
    data = content(2 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    cut = Once(is_bulk, chunked=True, cut_after=700_000, reset=False)
    s3 = http_proxy(rgw.port, lambda r: cut(r) or Answer(chunked=True))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, part_size="8M"))
    assert read(m.model("a", "v1", "model.zip")) == data
    again = [r for r in s3.gets("model.zip") if last(r) == last(cut.request)][-1]
    assert size(again) == size(cut.request) - 700_000


def signed_region(request):
    """Of the credential that a request was signed with."""
    return request.headers["authorization"].partition("Credential=")[2].split("/")[2]


MOVED = {301: "PermanentRedirect", 307: "TemporaryRedirect", 400: "AuthorizationHeaderMalformed"}


@pytest.mark.parametrize("status", MOVED)
def test_the_right_region_is_followed_once_and_remembered(rgw, bucket, mount, http_proxy, status):
    """As S3 tells it: to a HEAD by a header alone."""
    rgw.put(bucket, "a/v1/model.zip", content(MIB))

    def elsewhere(request):
        if signed_region(request) == "eu-west-1":
            return None
        return Answer(status=status, code=MOVED[status],
                      headers={"x-amz-bucket-region": "eu-west-1"})

    s3 = http_proxy(rgw.port, elsewhere)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert read(m.model("a", "v1", "model.zip")) == content(MIB)
    asked = [signed_region(r) for r in s3.requests]
    assert set(asked) == {"us-east-1", "eu-west-1"} and asked.count("us-east-1") <= 3, asked
    s3.reset_counts()
    assert error(os.stat, m.model("b")) == "ENOENT"
    assert {signed_region(r) for r in s3.requests} == {"eu-west-1"}
    assert m.log().count("is in region eu-west-1") == 1
    assert m.metric("scoutfs_s3_retries_total") == 0


def test_a_region_that_leads_nowhere_is_an_error(rgw, bucket, mount, http_proxy):
    s3 = http_proxy(rgw.port, lambda r: Answer(
        status=301, code="PermanentRedirect",
        headers={"x-amz-bucket-region": f"x-{signed_region(r)[-20:]}"}))
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port))
    assert error(os.listdir, m.model()) == "EIO"
    assert len(s3.requests) == 2


def test_anonymous(rgw, bucket, mount, http_proxy):
    """Whatever credentials there are, none is used."""
    rgw.put(bucket, "a/v1/model.zip", b"x")
    rgw.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
    rgw.client().put_object_acl(Bucket=bucket, Key="a/v1/model.zip", ACL="public-read")
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, secret=False, anonymous="yes"),
              env={"AWS_ACCESS_KEY_ID": "WRONG", "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert read(m.model("a", "v1", "model.zip")) == b"x"
    assert not [r for r in s3.requests if "authorization" in r.headers]
    assert "anonymous" in m.status()


@pytest.mark.parametrize("pays", ["yes", "no"])
def test_requester_pays(rgw, bucket, mount, http_proxy, pays):
    """Every request says who pays, and the gateway finds that signed."""
    rgw.put(bucket, "a/v1/model.zip", content(MIB))
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, requester_pays=pays))
    assert os.listdir(m.model("a")) == ["v1"]
    assert read(m.model("a", "v1", "model.zip")) == content(MIB)
    assert {r.method for r in s3.requests} == {"GET", "HEAD"} and s3.lists()
    told = {r.headers.get("x-amz-request-payer") for r in s3.requests}
    assert told == {"requester" if pays == "yes" else None}


def test_an_access_point(rgw, mount, http_proxy):
    """Its name and account are the host's first label; signed for its region, not the config's."""
    bucket = rgw.make_bucket("models-123456789012")
    rgw.put(bucket, "a/v1/model.zip", b"x")
    s3 = http_proxy(rgw.port)
    ini = rgw.ini("arn:aws:s3:eu-west-1:123456789012:accesspoint/models", region="us-east-2")
    m = mount(NO_HOSTS, ini.replace("127.0.0.1", "s3.test"),
              env={"http_proxy": f"http://127.0.0.1:{s3.port}"})
    assert read(m.model("a", "v1", "model.zip")) == b"x"
    assert {r.headers["host"] for r in s3.requests} == {f"{bucket}.s3.test:{rgw.port}"}
    assert {signed_region(r) for r in s3.requests} == {"eu-west-1"}


def test_an_object_that_is_encrypted_with_a_key_of_kms(rgw, bucket, mount):
    """Its ETag is no MD5; it reads as any other."""
    data = content(3 * MIB)
    rgw.client().put_object(Bucket=bucket, Key="a/v1/model.zip", Body=data,
                            ServerSideEncryption="aws:kms", SSEKMSKeyId="testkey")
    m = mount(NO_HOSTS, rgw.ini(bucket, part_size="1M"))
    assert read(m.model("a", "v1", "model.zip")) == data


@pytest.mark.parametrize("rtt", [0.006, 0.05])
def test_connections_are_made_ahead_where_that_takes_long(rgw, bucket, mount, http_proxy, proxy, rtt):
    """5 ms or more: at the open of what may be read on; they end when nobody does. Whoever does finds his bytes all the same."""
    data = content(24 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    link = proxy(s3.port)
    link.rtt = rtt
    m = mount(NO_HOSTS, rgw.ini(bucket, link.port, max_connections=12))
    assert os.stat(m.model("a", "v1", "model.zip")).st_size == len(data)
    fd = os.open(m.model("a", "v1", "model.zip"), os.O_RDONLY)
    try:
        wait_for(lambda: link.total >= 12, 20, "as many connections as there may be")
        assert m.metric("scoutfs_s3_connections") <= 12
        assert {r.range for r in s3.gets("model.zip")} == {f"bytes=0-{MIB - 1}"}
        wait_for(lambda: link.connections <= 4, 30, "the end of what nobody used")
    finally:
        os.close(fd)
    assert read(m.model("a", "v1", "model.zip")) == data


def test_no_connections_are_made_ahead_where_that_is_soon_done(rgw, bucket, mount, http_proxy):
    """At the same open, without a round trip."""
    data = content(24 * MIB)
    rgw.put(bucket, "a/v1/model.zip", data)
    s3 = http_proxy(rgw.port)
    m = mount(NO_HOSTS, rgw.ini(bucket, s3.port, max_connections=12))
    for number in range(20):  # the soonest answer counts: of one or two, any may be late
        assert error(os.stat, m.model(f"none-{number}")) == "ENOENT"
    assert os.stat(m.model("a", "v1", "model.zip")).st_size == len(data)
    before = s3.total
    fd = os.open(m.model("a", "v1", "model.zip"), os.O_RDONLY)
    try:
        wait_for(lambda: any(r.ended for r in s3.gets("model.zip")), 20, "the first MiB")
        for number in range(20):  # answered behind what was to be connected then
            assert error(os.stat, m.model(f"nor-{number}")) == "ENOENT"
        assert {r.range for r in s3.gets("model.zip")} == {f"bytes=0-{MIB - 1}"}
        assert s3.total <= before + 2 + len(s3.hedges), "more than the open and its first bytes need"
    finally:
        os.close(fd)
    assert read(m.model("a", "v1", "model.zip")) == data
