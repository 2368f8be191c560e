"""An S3 that answers what is not so, late, twice, or half: mostly to who publishes."""

import hashlib
import os

import pytest

from s3_server import Request
from tools import MIB, content, error, read, write

NO_HOSTS = "[hosts]\nssh_config =\n"
SMALL, LARGE = b"hello", content(5 * MIB + 1)  # one PUT; two parts


@pytest.fixture
def publish(s3, mount):
    """publish(data) writes a/x into a new mount, and gives the errno's name, or "ok"."""

    def start(data, **more):
        m = publish.mount = mount(NO_HOSTS, s3.ini(read_only="no", part_size="5M", **more))
        os.mkdir(m.model("a"))
        return error(write, m.model("a", "x"), data)

    publish = start
    return start


def is_completion(request):
    return request.command == "POST" and "uploadId" in request.query


def is_store(request):
    """That makes the object."""
    return is_completion(request) or (request.command == "PUT" and "uploadId" not in request.query)


def once(matches, lie):
    """lie(request) for the first that matches."""
    left = [lie]

    def first(request):
        if not left or not matches(request):
            return False
        left.pop()(request)
        return True

    return first


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_honest(s3, publish, data):
    assert publish(data) == "ok"
    assert s3.objects == {"a/x": data}


# 200 comes before S3 knows, and its end says what it came to


@pytest.mark.parametrize("body", [
    b"", b"  \n ", b'<?xml version="1.0"?>\n   ', b"<CompleteMultipartUploadResult><Key>a/x</Key>",
    b"<Error><Code>Inter", b"<html>welcome</html>"])
def test_a_completion_that_is_none(s3, publish, body):
    """Nothing is there, and close says so."""
    s3.lie = lambda request: is_completion(request) and (request.answer_and_hang_up(200, body) or True)
    assert publish(LARGE, max_attempts=2) == "EIO"
    assert s3.objects == {} and len([r for r in s3.requests if is_completion(r)]) == 2
    assert "200, and not what it came to (EIO, attempt 2)" in publish.mount.log()


@pytest.mark.parametrize("body", [b"", b'<?xml version="1.0"?>\n   ', b"<html>welcome</html>"])
def test_a_completion_without_its_end(s3, publish, body):
    """All the same it was done: the next one finds no upload, and the object tells that it is ours."""

    def cut(request):
        with request.unheard():
            request.be_honest()
        request.answer_and_hang_up(200, body)

    s3.lie = once(is_completion, cut)
    assert publish(LARGE) == "ok"
    assert s3.objects == {"a/x": LARGE}


NAMESPACE = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def late(code, namespace=b""):
    return (b" \n <Error" + namespace + b"><Code>" + code.encode() +
            b"</Code><Message>told by the test</Message></Error>")


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "ConditionalRequestConflict",
                                  "OperationAborted"])
@pytest.mark.parametrize("namespace", [b"", NAMESPACE], ids=["plain", "namespace"])
def test_a_late_error_that_passes(s3, publish, code, namespace):
    s3.lie = once(is_completion, lambda request: request.answer(200, late(code, namespace)))
    assert publish(LARGE) == "ok"
    assert s3.objects == {"a/x": LARGE}
    assert len([r for r in s3.requests if is_completion(r)]) == 2


@pytest.mark.parametrize("code, word", [
    ("InternalError", "EIO"), ("InvalidPart", "EIO"), ("AccessDenied", "EACCES"),
    ("QuotaExceeded", "EDQUOT")])
@pytest.mark.parametrize("namespace", [b"", NAMESPACE], ids=["plain", "namespace"])
def test_a_late_error_that_stays(s3, publish, code, word, namespace):
    s3.lie = lambda request: is_completion(request) and (
        request.answer(200, late(code, namespace)) or True)
    assert publish(LARGE, max_attempts=2) == word
    assert s3.objects == {} and s3.uploads == {}
    assert f"200, and then {code} ({word}" in publish.mount.log()


def test_another_was_first_says_a_late_error(s3, publish):
    def lie(request):
        s3.objects["a/x"] = b"theirs"
        request.answer(200, late("PreconditionFailed"))

    s3.lie = once(is_completion, lie)
    assert publish(LARGE) == "EEXIST"
    assert s3.objects == {"a/x": b"theirs"} and s3.uploads == {}


# an answer that is lost


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_an_answer_that_is_lost_on_a_used_connection(s3, publish, data):
    """libcurl sends such a request again by itself, and S3 says of the second one that there is an object."""
    s3.lie = once(is_store, lambda request: request.lose_answer())
    assert publish(data) == "ok"
    assert s3.objects == {"a/x": data}
    stores = [r for r in s3.requests if is_store(r)]
    assert len(stores) == 2
    assert {r.headers["amz-sdk-request"].partition(";")[0] for r in stores} == {"attempt=1"}


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_an_answer_that_is_lost_and_another_is_faster(s3, publish, data):
    def lie(request):
        s3.objects["a/x"] = b"theirs"
        request.close_connection = True

    s3.lie = once(is_store, lie)
    assert publish(data) == "EEXIST"
    assert s3.objects == {"a/x": b"theirs"}


def fail_when_done(request):
    with request.unheard():
        request.be_honest()
    request.refuse(500, "InternalError")


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("lie", [Request.lose_answer, fail_when_done], ids=["lost", "500"])
def test_an_answer_that_is_lost_where_etags_are_no_md5(s3, publish, data, lie):
    """As with SSE-KMS."""
    s3.etag = lambda some: '"' + hashlib.md5(b"secret" + some).hexdigest() + '"'
    s3.lie = once(is_store, lie)
    assert publish(data) == "ok"
    assert s3.objects == {"a/x": data}
    mark = s3.objects["a/x"].metadata["x-amz-meta-scoutfs-upload"]
    assert len(mark) == 32
    assert os.getxattr(publish.mount.model("a", "x"), "user.s3.meta.scoutfs-upload").decode() == mark


def test_an_answer_that_is_lost_where_no_metadata_is_kept(s3, publish):
    def forget(request):
        request.metadata = lambda: {}
        request.lose_answer()

    s3.lie = once(is_store, forget)
    assert publish(SMALL) == "ok"
    assert s3.objects == {"a/x": SMALL} and not s3.objects["a/x"].metadata


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_the_same_bytes_of_another_are_not_ours_where_etags_are_no_md5(s3, publish, data):
    s3.etag = lambda some: '"' + hashlib.md5(b"secret" + some).hexdigest() + '"'

    def lie(request):
        s3.objects["a/x"] = data
        request.close_connection = True

    s3.lie = once(is_store, lie)
    assert publish(data) == "EEXIST"


# what a server refuses


def is_part(request):
    return request.command == "PUT" and "partNumber" in request.query


@pytest.mark.parametrize("status, code", [(408, "RequestTimeout"), (400, "IncompleteBody"),
                                          (400, "RequestTimeout")])
@pytest.mark.parametrize("data, matches", [(SMALL, is_store), (LARGE, is_part)], ids=["small", "part"])
def test_a_body_that_did_not_come_whole_is_sent_again(s3, publish, data, matches, status, code):
    s3.lie = once(matches, lambda request: request.refuse(status, code))
    assert publish(data) == "ok"
    assert s3.objects == {"a/x": data}


# a conditional write while another is under way


CONFLICT = 409, "ConditionalRequestConflict"


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "OperationAborted"])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_conflict_that_passes(s3, publish, data, code):
    s3.lie = once(is_store, lambda request: request.refuse(409, code))
    assert publish(data) == "ok"
    assert s3.objects == {"a/x": data} and s3.uploads == {}
    assert len([r for r in s3.requests if is_store(r)]) == 2


@pytest.mark.parametrize("data, answers", [
    (SMALL, [CONFLICT, CONFLICT]), (LARGE, [CONFLICT, CONFLICT]),
    (LARGE, [CONFLICT, (404, "NoSuchUpload")])], ids=["small", "large", "no-upload"])
def test_a_conflict_that_another_has_won(s3, publish, data, answers):
    """After a conflict a server may know nothing of the upload any more."""
    left = list(answers)

    def lie(request):
        if not is_store(request):
            return False
        s3.objects["a/x"] = b"theirs"
        request.refuse(*left.pop(0))
        return True

    s3.lie = lie
    assert publish(data, max_attempts=2) == "EEXIST"
    assert left == [] and s3.objects == {"a/x": b"theirs"} and s3.uploads == {}
    assert "there is an object of that name by now (EEXIST)" in publish.mount.log()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_conflict_that_nobody_has_won(s3, publish, data):
    s3.lie = lambda request: is_store(request) and (request.refuse(*CONFLICT) or True)
    assert publish(data, max_attempts=2) == "EIO"
    assert s3.objects == {} and s3.uploads == {}


def refuse_conditions(request):
    refuses = is_store(request) and "If-None-Match" in request.headers
    if refuses:
        request.refuse(501, "NotImplemented")
    return refuses


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_server_that_refuses_conditions(s3, publish, data):
    """It is looked at before, each time; and conditions are tried once a mount."""
    s3.lie = refuse_conditions
    assert publish(data) == "ok"
    for name in ("y", "z"):
        write(publish.mount.model("a", name), data)
    assert s3.objects == {"a/x": data, "a/y": data, "a/z": data}
    stores = [r for r in s3.requests if is_store(r)]
    assert ["If-None-Match" in r.headers for r in stores] == [True, False, False, False]
    assert publish.mount.log().count("If-None-Match") == 1
    assert "501" not in publish.mount.log()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_what_is_there_stays_where_conditions_are_refused(s3, publish, data):
    s3.lie = refuse_conditions
    assert publish(SMALL) == "ok"
    f = open(publish.mount.model("a", "y"), "wb")
    f.write(data)
    s3.objects["a/y"] = b"theirs"
    assert error(f.close) == "EEXIST"
    assert s3.objects == {"a/x": SMALL, "a/y": b"theirs"}


def test_501_of_something_else(s3, publish):
    s3.lie = lambda request: is_store(request) and (request.refuse(501, "NotImplemented") or True)
    assert publish(SMALL) == "EIO"
    assert len([r for r in s3.requests if is_store(r)]) == 2
    assert "501 NotImplemented (EIO" in publish.mount.log()


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_501_of_something_else_says_nothing_of_conditions(s3, publish, data):
    """Only where the same request without one is taken, none is sent any more."""
    s3.lie = lambda request: is_store(request) and (request.refuse(501, "NotImplemented") or True)
    assert publish(data) == "EIO"
    s3.lie = refuse_conditions
    del s3.requests[:]
    for name in ("x", "y"):
        write(publish.mount.model("a", name), data)
    stores = [r for r in s3.requests if is_store(r)]
    assert ["If-None-Match" in r.headers for r in stores] == [True, False, False]
    assert s3.objects == {"a/x": data, "a/y": data}
    assert publish.mount.log().count("If-None-Match") == 1


# what it says of others


@pytest.mark.parametrize("overwrite, word", [("no", "EEXIST"), ("yes", "ok")])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_a_name_that_was_free_and_is_taken_at_close(s3, publish, data, overwrite, word):
    assert publish(SMALL, overwrite=overwrite) == "ok"
    f = open(publish.mount.model("a", "y"), "wb")
    f.write(data)
    s3.objects["a/y"] = b"theirs"
    assert error(f.close) == word
    assert s3.objects["a/y"] == (data if overwrite == "yes" else b"theirs")


def test_an_upload_that_another_ended(s3, publish):
    """By its own rule of what is left over, perhaps: no name is missing."""
    s3.lie = once(is_part, lambda request: request.refuse(404, "NoSuchUpload"))
    assert publish(LARGE) == "EIO"
    assert s3.objects == {} and s3.uploads == {}
    assert "404 NoSuchUpload (EIO)" in publish.mount.log()


# readers


def test_weak_etags(s3, mount):
    """No If-Match is sent, which they never match; a change is seen by the answer's own."""
    s3.etag = lambda data: f'W/"{hashlib.md5(data).hexdigest()}"'
    s3.objects = {"a/x": content(9 * MIB + 3)}

    def refuse_weak(request):
        weak = request.headers.get("If-Match", "").startswith("W/")
        if weak:
            request.refuse(412, "PreconditionFailed")
        return weak

    s3.lie = refuse_weak
    m = mount(NO_HOSTS, s3.ini())
    os.listdir(m.model("a"))
    assert read(m.model("a", "x")) == s3.objects["a/x"]
    assert os.getxattr(m.model("a", "x"), "user.scoutfs.etag").decode() == \
        hashlib.md5(s3.objects["a/x"]).hexdigest()
    s3.objects["a/y"] = content(9 * MIB + 3, 1)
    with open(m.model("a", "y"), "rb", buffering=0) as f:
        assert f.read(10) == s3.objects["a/y"][:10]
        s3.objects["a/y"] = content(9 * MIB + 3, 2)
        assert error(os.pread, f.fileno(), 10, 8 * MIB) == "ESTALE"
