"""An S3 of the tests' own that can lie: what radosgw never answers, and what must be known of each request.

It keeps one bucket in memory, with conditions and multipart uploads, and tells the truth until a lie is told
to it: a function that is asked for each request before it is served, and may answer in its place.
"""

import contextlib
import hashlib
import html
import re
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit

BUCKET = "lies"
BEHIND_ALL = "\U0010ffff"  # of a folder's keys


def md5(data):
    return hashlib.md5(data).hexdigest()


class Object(bytes):
    """What is there under a key: its bytes, and what else is known of them."""

    etag = None  # else by S3.etag
    metadata = {}


class Vast(Object):
    """Zeros, but for some pieces ({offset: bytes}): made where they are read, so that the size is no matter."""

    etag = '"00000000000000000000000000000000-2"'  # of parts: no digest of all of it

    def __new__(cls, size, pieces):
        made = super().__new__(cls)
        made.size, made.pieces = size, pieces
        return made

    def __len__(self):
        return self.size

    def __getitem__(self, asked):
        begin, end, _ = asked.indices(self.size)
        out = bytearray(end - begin)
        for at, piece in self.pieces.items():
            first, last = max(begin, at), min(end, at + len(piece))
            if first < last:
                out[first - begin:last - begin] = piece[first - at:last - at]
        return bytes(out)


class Keys(Sequence):
    """So many, sorted, made where they are looked at: four of a model, a thousand models of an organisation."""

    FILES = "README.md", "config.json", "model.zip", "tokenizer.json"

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        return f"org-{number // 4000:04}/model-{number // 4 % 1000:03}/main/{self.FILES[number % 4]}"

    def number_of(self, key):
        """Of one that is among them, else None."""
        parts = re.fullmatch(r"org-(\d{4})/model-(\d{3})/main/(.+)", key)
        if not parts or parts[3] not in self.FILES:
            return None
        number = int(parts[1]) * 4000 + int(parts[2]) * 4 + self.FILES.index(parts[3])
        return number if number < self.count else None


class Models(Mapping):
    """For S3.objects: so many of Keys, and objects that are made where they are looked at, of sizes that repeat
    after 97. A listing's page costs no more than its own keys."""

    def __init__(self, count):
        self.in_order = Keys(count)

    def __len__(self):
        return len(self.in_order)

    def __iter__(self):
        return iter(self.in_order)

    def __getitem__(self, key):
        number = self.in_order.number_of(key)
        if number is None:
            raise KeyError(key)
        made = Object(number % 97)
        made.etag = f'"{number:032x}"'
        return made


class Upload:
    def __init__(self, key, metadata):
        self.key = key
        self.metadata = metadata
        self.parts = {}  # number: bytes
        self.begun = time.time()

    def whole(self, etag):
        parts = [self.parts[number] for number in sorted(self.parts)]
        made = Object(b"".join(parts))
        digests = b"".join(hashlib.md5(part).digest() for part in parts)
        made.etag = etag(digests)[:-1] + f'-{len(parts)}"'
        return made


class S3:
    """lie(request) gives True where it has answered. requests are all that came; objects may be changed at
    any time, and etag, which gives the ETag of bytes; versions are (key, id, whether it is the latest)."""

    def __init__(self):
        self.objects = {}  # key: bytes
        self.uploads = {}  # id: Upload
        self.versions = []
        self.requests = []
        self.lie = lambda request: False
        self.etag = lambda data: f'"{md5(data)}"'
        self.page = 1000   # keys of a listing come by so many
        self.clock = time.time
        self.lock = threading.Lock()  # of what changes both key and condition
        self.server = None

    def start(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.server.daemon_threads = True
        self.server.s3 = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()

    @property
    def port(self):
        return self.server.server_address[1]

    def ini(self, port=None, **more):
        more = {"anonymous": "yes", "path_style": "yes", **more}
        lines = ["[models]", f"endpoint = http://127.0.0.1:{port or self.port}",
                 f"bucket = {BUCKET}"]
        return "\n".join(lines + [f"{key} = {value}" for key, value in more.items()]) + "\n"

    def came(self, method, word=None):
        """Those requests of which there is a word in the query."""
        return [r for r in self.requests if r.command == method and (word is None or word in r.query)]

    def in_order(self):
        """The keys, sorted."""
        return self.objects.in_order if isinstance(self.objects, Models) else sorted(self.objects)

    def etag_of(self, data):
        return getattr(data, "etag", None) or self.etag(data)


class Request(BaseHTTPRequestHandler):
    """One connection, and its request of the moment: command, key ("": of the bucket), query, headers,
    body. Those that are kept in S3.requests are copies of these."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(self.s3.clock() if timestamp is None else timestamp)

    @property
    def s3(self):
        return self.server.s3

    def serve(self):
        url = urlsplit(self.path)
        self.key = unquote(url.path.removeprefix("/" + BUCKET).removeprefix("/"))
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.s3.requests.append(Seen(self))
        if not self.s3.lie(self):
            self.be_honest()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

    # for lies

    def be_honest(self):
        getattr(self, "serve_" + self.command.lower())()

    @contextlib.contextmanager
    def unheard(self):
        """What is answered meanwhile is not sent."""
        wire, self.wfile = self.wfile, Nowhere()
        yield
        self.wfile = wire

    def lose_answer(self):
        """Does what was asked for, and hangs up."""
        with self.unheard():
            self.be_honest()
        self.close_connection = True

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def answer_and_hang_up(self, status, body=b""):
        """Whose end nobody can tell from a cut."""
        self.send_response(status)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    # the truth

    def serve_head(self):
        if self.key not in self.s3.objects:
            self.refuse(404, "NoSuchKey")
            return
        self.answer(200, Content_Length=len(self.s3.objects[self.key]), **self.describe())

    def describe(self):
        metadata = getattr(self.s3.objects[self.key], "metadata", {})
        return {"ETag": self.s3.etag_of(self.s3.objects[self.key]), **metadata}

    def serve_get(self):
        if not self.key:
            self.list_bucket()
        elif self.key not in self.s3.objects:
            self.refuse(404, "NoSuchKey")
        elif self.headers.get("If-Match") not in (None, self.s3.etag_of(self.s3.objects[self.key])):
            self.refuse(412, "PreconditionFailed")
        else:
            self.give_bytes(self.s3.objects[self.key])

    def give_bytes(self, data):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if not asked:
            self.answer(200, data, **self.describe())
            return
        first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
        if first >= len(data):
            self.refuse(416, "InvalidRange")
            return
        self.answer(206, data[first:last + 1], **self.describe(),
                    Content_Range=f"bytes {first}-{last}/{len(data)}")

    def list_bucket(self):
        if "uploads" in self.query:
            self.list_uploads()
        elif "versions" in self.query:
            self.list_versions()
        else:
            self.list_objects()

    def list_objects(self):
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
        after = self.query.get("continuation-token") or self.query.get("start-after") or ""
        most = min(int(self.query.get("max-keys", 1000)), self.s3.page)
        keys, out, last = self.s3.in_order(), [], ""
        at = max(bisect_left(keys, prefix), bisect_right(keys, after))
        while at < len(keys) and keys[at].startswith(prefix):
            if len(out) == most:
                out.append(f"<IsTruncated>true</IsTruncated><NextContinuationToken>"
                           f"{html.escape(last)}</NextContinuationToken>")
                break
            last = keys[at]
            if delimiter and delimiter in last[len(prefix):]:
                folder = prefix + last[len(prefix):].split(delimiter)[0] + delimiter
                out.append(f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>")
                last = folder + BEHIND_ALL
            else:
                out.append(self.entry(last, self.s3.objects[last]))
            at = bisect_right(keys, last, at)
        self.answer_xml("ListBucketResult", "<EncodingType>url</EncodingType>" + "".join(out))

    def entry(self, key, data):
        return (f"<Contents><Key>{quote(key)}</Key><Size>{len(data)}</Size>"
                f"<LastModified>2024-01-01T00:00:00.000Z</LastModified>"
                f"<ETag>{html.escape(self.s3.etag_of(data))}</ETag></Contents>")

    def list_versions(self):
        start = int(self.query.get("version-id-marker", 0))
        asked = [one for one in self.s3.versions if one[0].startswith(self.query.get("prefix", ""))]
        page = asked[start:start + self.s3.page]
        out = [f"<Version><Key>{quote(key)}</Key><VersionId>{version}</VersionId>"
               f"<IsLatest>{str(latest).lower()}</IsLatest><Size>1</Size>"
               f"<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>\"x\"</ETag></Version>"
               for key, version, latest in page]
        if start + len(page) < len(asked):
            out.append(f"<IsTruncated>true</IsTruncated><NextKeyMarker>{quote(page[-1][0])}"
                       f"</NextKeyMarker><NextVersionIdMarker>{start + len(page)}"
                       f"</NextVersionIdMarker>")
        self.answer_xml("ListVersionsResult", "<EncodingType>url</EncodingType>" + "".join(out))

    def list_uploads(self):
        self.answer_xml("ListMultipartUploadsResult", "".join(
            f"<Upload><Key>{html.escape(one.key)}</Key><UploadId>{name}</UploadId><Initiated>"
            + time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(one.begun))
            + "</Initiated></Upload>" for name, one in list(self.s3.uploads.items())
            if one.key.startswith(self.query.get("prefix", ""))))

    def answer_xml(self, root, inside=""):
        self.answer(200, f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inside}</{root}>'.encode())

    def metadata(self):
        return {name: value for name, value in self.headers.items()
                if name.lower().startswith("x-amz-meta-")}

    def store(self, data, metadata):
        """Whether there was none, or that is no matter."""
        made = Object(data)
        made.etag, made.metadata = getattr(data, "etag", None), metadata
        with self.s3.lock:
            if self.headers.get("If-None-Match") != "*" or self.key not in self.s3.objects:
                self.s3.objects[self.key] = made
                return True
        self.refuse(412, "PreconditionFailed")
        return False

    def serve_put(self):
        if "partNumber" in self.query:
            upload = self.s3.uploads.get(self.query["uploadId"])
            if not upload:
                self.refuse(404, "NoSuchUpload")
                return
            upload.parts[int(self.query["partNumber"])] = self.body
            self.answer(200, ETag=self.s3.etag(self.body))
        elif self.store(self.body, self.metadata()):
            self.answer(200, ETag=self.s3.etag(self.body))

    def serve_post(self):
        if "uploads" in self.query:
            name = f"upload-{len(self.s3.requests)}"
            self.s3.uploads[name] = Upload(self.key, self.metadata())
            self.answer_xml("InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
            return
        upload = self.s3.uploads.get(self.query["uploadId"])
        if not upload:
            self.refuse(404, "NoSuchUpload")
        elif self.store(upload.whole(self.s3.etag), upload.metadata):
            del self.s3.uploads[self.query["uploadId"]]
            self.answer_xml("CompleteMultipartUploadResult")

    def serve_delete(self):
        if "uploadId" in self.query:
            self.s3.uploads.pop(self.query["uploadId"], None)
        else:
            self.s3.objects.pop(self.key, None)
        self.answer(204)


class Seen:
    """A request that came."""

    def __init__(self, request):
        self.command, self.key, self.query = request.command, request.key, request.query
        self.headers, self.body = request.headers, request.body


class Nowhere:
    def write(self, data):
        return len(data)

    def flush(self):
        pass
