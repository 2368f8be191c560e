"""What hands out S3 credentials at AWS, on one loopback port: the metadata service of an instance (version
2), the endpoint of a container, and STS, as their documents say. The keys are those that a real gateway's
STS gives, so that what was handed out is proved by using it; only when they end is said otherwise."""

import datetime
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ROLE_ARN = "arn:aws:iam::123456789012:role/reader"
MIDDLE_ARN = "arn:aws:iam::123456789012:role/middle"
ROLES = "/latest/meta-data/iam/security-credentials/"
CONTAINER = "/v2/credentials/0f1e2d3c"

STS = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <{action}Result>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLE:{session}</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/reader/{session}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{AccessKeyId}</AccessKeyId>
      <SecretAccessKey>{SecretAccessKey}</SecretAccessKey>
      <SessionToken>{SessionToken}</SessionToken>
      <Expiration>{Expiration}</Expiration>
    </Credentials>
  </{action}Result>
  <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata>
</{action}Response>
"""
STS_ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
  <RequestId>4c5e3d9b-95b1-11e0-a4c8-example</RequestId>
</ErrorResponse>
"""


class Refused(Exception):
    """status, code, message of an answer that gives nothing."""


class Aws:
    def __init__(self, keys):
        self.keys = keys  # STS's Credentials, handed out in turn
        self.life = 3600  # seconds until they expire
        self.users = {}  # access key id: secret, of who may sign for a role
        self.external_id = None
        self.container_token = None
        self.web_token = None
        self.broken = False  # every question is answered by 500
        self.silent = False  # no question is answered at all
        self.asked = []  # "token", "role", "instance", "container", "AssumeRole"…
        self.issued = []  # the access key ids handed out
        self.forms = []  # what STS was asked and granted, with its "signer" (or None) and "region"
        self.secrets = []  # all else
        self._released = threading.Event()
        self._server = None

    def start(self):
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, text = aws.answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # who asked has gone
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self):
        return self._server.server_port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method, path, headers, body):
        if self.silent:
            self.asked.append("in vain")
            self._released.wait(60)
        try:
            if self.broken:
                self.asked.append("in vain")
                raise Refused(500, "InternalFailure", "out of order")
            if method == "POST":
                return 200, self._sts(path, headers, body)
            if path.startswith("/latest/"):
                return 200, self._instance(method, path, headers)
            return 200, self._container(method, path, headers)
        except Refused as e:
            status, code, message = e.args
            return status, STS_ERROR.format(code=code, message=escape(message))

    def _issue(self, kind):
        key = self.keys[len(self.issued) % len(self.keys)]
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.life)
        self.secrets += [key["SecretAccessKey"], key["SessionToken"]]
        self.issued.append(key["AccessKeyId"])
        self.asked.append(kind)
        return {**key, "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _json(self, kind):
        key = self._issue(kind)
        return json.dumps({"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z",
                           "Type": "AWS-HMAC", "Token": key.pop("SessionToken"), **key})

    def _instance(self, method, path, headers):
        if path == "/latest/api/token":
            life = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if headers.get("X-Forwarded-For"):
                raise Refused(403, "Forbidden", "came through a proxy")
            if method != "PUT" or not life.isdigit() or not 1 <= int(life) <= 21600:
                raise Refused(400, "BadRequest", "how long shall it hold?")
            self.asked.append("token")
            self.secrets.append(secrets.token_urlsafe(40) + "==")
            self._session = self.secrets[-1]
            return self._session
        if method != "GET" or headers.get("X-aws-ec2-metadata-token") != self._session:
            raise Refused(401, "Unauthorized", "no token")
        if path == ROLES:
            self.asked.append("role")
            return "reader"
        if path == ROLES + "reader":
            return self._json("instance")
        raise Refused(404, "NotFound", path)

    _session = object()  # equal to no header

    def _container(self, method, path, headers):
        if headers.get("Authorization") != self.container_token:
            raise Refused(401, "Unauthorized", "wrong token")
        if method != "GET" or path != CONTAINER:
            raise Refused(404, "NotFound", path)
        return self._json("container")

    def _sts(self, path, headers, body):
        form = {name: values[0] for name, values in
                parse_qs(body.decode(), strict_parsing=True).items()}
        action, signer, region = form.get("Action"), None, None
        if form.get("Version") != "2011-06-15" or form.get("RoleArn") not in (ROLE_ARN, MIDDLE_ARN):
            raise Refused(400, "ValidationError", "version or role")
        if action == "AssumeRole":
            signer, region = self._verify(path, headers, body)
            if form.get("ExternalId") != self.external_id:
                raise Refused(403, "AccessDenied", "not authorized to perform: sts:AssumeRole")
        elif action == "AssumeRoleWithWebIdentity":
            if "Authorization" in headers or form.get("WebIdentityToken") != self.web_token:
                raise Refused(400, "InvalidIdentityToken", "No OpenIDConnect provider found")
        else:
            raise Refused(400, "InvalidAction", str(action))
        self.forms.append({**form, "signer": signer, "region": region})
        key = {name: escape(value) for name, value in self._issue(action).items()}
        return STS.format(action=action, session=escape(form["RoleSessionName"]), **key)

    def _verify(self, path, headers, body):
        """The signature as botocore would have made it, and the token of who has one; whose it is, and the
        region it is for."""
        words = dict(word.strip().split("=", 1) for word in
                     headers.get("Authorization", "x ").split(" ", 1)[1].split(",") if "=" in word)
        access_key, _, region, service, _ = (words.get("Credential", "") + "////").split("/")[:5]
        token = next((key["SessionToken"] for key in self.keys if key["AccessKeyId"] == access_key), None)
        if access_key not in self.users or service != "sts" or headers.get("X-Amz-Security-Token") != token:
            raise Refused(403, "InvalidClientTokenId", "The security token is invalid.")
        request = AWSRequest("POST", f"http://{headers['Host']}{path}", data=body)
        for name in words["SignedHeaders"].split(";"):
            request.headers[name] = headers[name]
        request.context["timestamp"] = headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials(access_key, self.users[access_key]), service, region)
        text = signer.string_to_sign(request, signer.canonical_request(request))
        needed = {"host", "x-amz-date"} | ({"x-amz-security-token"} if token else set())
        if not needed <= set(words["SignedHeaders"].split(";")) or \
                signer.signature(text, request) != words["Signature"]:
            raise Refused(403, "SignatureDoesNotMatch", "The signature does not match.")
        return access_key, region
