"""Where S3 credentials come from, and that they are renewed under a mount at work."""

import json
import os
import re
import signal
import subprocess

import pytest

from aws import CONTAINER, MIDDLE_ARN, ROLE_ARN, Aws
from mount import SLOWER, command
from procs import free_port, wait_for
from proxy import Answer
from tls import TlsProxy, Tunnel
from tools import error, read, timed, together, write

NO_HOSTS = "[hosts]\nssh_config =\n"
SECRETS = ("AccessKeyId", "SecretAccessKey", "SessionToken")


@pytest.fixture
def aws(rgw):
    server = Aws(rgw.role_keys(3)).start()
    yield server
    server.stop()


@pytest.fixture
def s3(rgw, bucket, http_proxy):
    """A registry, and the proxy before it that sees who signs."""
    rgw.put(bucket, "a/v1/model.zip", b"found")
    return http_proxy(rgw.port)


@pytest.fixture
def ini(rgw, bucket, s3):
    return NO_HOSTS + rgw.ini(bucket, s3.port, secret=False)


def signers(s3):
    """The access key ids in the order in which they were first used."""
    found = [re.search(r"Credential=([^/]+)/", r.headers.get("authorization", ""))
             for r in s3.requests]
    return list(dict.fromkeys(m[1] if m else None for m in found))


def works(m):
    assert read(m.model("a", "v1", "model.zip")) == b"found"


def comes_to_work(m):
    """With keys of a few seconds: on a busy machine they may have expired when the first ones are used."""
    wait_for(lambda: error(works, m) == "ok", 30 * SLOWER, "keys")


def stat_of_nothing(m, number=iter(range(10**9))):
    """A question that S3 must be asked each time."""
    return error(os.stat, m.model(f"nothing-{next(number)}"))


def credentials_line(m):
    return re.search(r"^  credentials  (.*)$", m.status(), re.M)[1]


def renewed_in(m):
    """How long after each time that keys came the next ones were to be asked for."""
    return re.findall("to be renewed in (.*)", m.log())


def shows_no_secret(m, aws, *more):
    with open(f"/proc/{m.process.pid}/cmdline", encoding="utf-8") as f:
        told = f.read() + m.log() + m.status() + read(m.path(".scoutfs", "metrics")).decode()
    for secret in [*aws.secrets, *more]:
        assert secret not in told


def profile(m, name, text):
    """Writes ~/.aws/<name> of a mount, which best is not started yet."""
    write(os.path.join(m.home, ".aws", name), text.encode())


def test_an_instance_s_role_is_renewed_while_it_is_read(rgw, bucket, aws, s3, ini, mount):
    aws.life = 4
    m = mount(ini, env={"AWS_EC2_METADATA_DISABLED": "false",
                        "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url + "/"})
    comes_to_work(m)
    assert re.match(r"instance metadata, expired? ", credentials_line(m))
    wait_for(lambda: stat_of_nothing(m) == "ENOENT" and len(set(signers(s3)) - {None}) >= 2, 30 * SLOWER,
             "other keys")
    assert set(signers(s3)) - {None} <= set(aws.issued)
    assert set(aws.asked) == {"token", "role", "instance"}
    assert m.metric("scoutfs_s3_credentials_renewed_total") >= 2
    assert m.metric("scoutfs_s3_credentials_expire_seconds") <= 4
    assert set(renewed_in(m)) <= {"1 s", "2 s"}, "with half of their life left"
    shows_no_secret(m, aws)


def test_a_container_s_endpoint_and_its_token_file(aws, s3, ini, mount, folder):
    """The token is read again each time, as EKS changes it."""
    aws.life = 4
    aws.container_token = "first token"
    path = write(os.path.join(folder, "token"), b"first token\n")
    m = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER,
                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path,
                        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "not this one"})
    comes_to_work(m)
    assert credentials_line(m).startswith("container endpoint, expire")
    write(path, b"second token")
    aws.container_token = "second token"
    wait_for(lambda: len(aws.issued) >= 2, 30 * SLOWER, "a renewal")
    wait_for(lambda: stat_of_nothing(m) == "ENOENT", 30 * SLOWER, "keys")
    shows_no_secret(m, aws, "first token", "second token", "not this one")


def test_a_container_s_token_of_the_environment(aws, s3, ini, mount):
    aws.container_token = "Bearer abc"
    m = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER,
                        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer abc"})
    works(m)
    refused = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    assert stat_of_nothing(refused) == "EACCES"
    assert "HTTP status 401" in refused.status()


def test_a_role_of_a_profile(rgw, aws, s3, ini, mount):
    """AssumeRole, signed by the keys of source_profile."""
    aws.users[rgw.access_key] = rgw.secret_key
    aws.external_id = "between us"
    m = mount(ini + "profile = ml\n", env={"AWS_ENDPOINT_URL_STS": aws.url}, run=False)
    profile(m, "credentials", f"[base]\naws_access_key_id = {rgw.access_key}\n"
            f"aws_secret_access_key = {rgw.secret_key}\n")
    profile(m, "config", f"[profile ml]\nrole_arn = {ROLE_ARN}\nsource_profile = base\n"
            "external_id = between us\nrole_session_name = a@b\nduration_seconds = 3600\n")
    m.start()
    works(m)
    assert re.match(re.escape(f"profile ml (assumed role {ROLE_ARN}), expire in ") + r"(59m \d+s|1h 0m)$",
                    credentials_line(m))
    assert aws.asked == ["AssumeRole"]
    assert (aws.forms[0]["RoleSessionName"], aws.forms[0]["DurationSeconds"]) == ("a@b", "3600")
    assert signers(s3) == aws.issued
    left, = renewed_in(m)
    assert re.fullmatch(r"44m \d+s|45m 0s", left), "a quarter of an hour before they expire"
    shows_no_secret(m, aws, rgw.secret_key, "between us")


@pytest.mark.parametrize("config, asked", [
    ("credential_source = Environment\n", []),
    ("credential_source = EcsContainer\n", ["container"]),
    ("credential_source = Ec2InstanceMetadata\n", ["token", "role", "instance"]),
    ("source_profile = middle\n[profile middle]\ncredential_process = cat {keys}\n", []),
    ("source_profile = middle\n[profile middle]\n{middle}source_profile = base\n", ["AssumeRole"]),
    ("source_profile = middle\n[profile middle]\n{middle}web_identity_token_file = {token}\n",
     ["AssumeRoleWithWebIdentity"]),
], ids=["environment", "container", "instance", "process", "role", "web identity"])
def test_a_role_is_asked_for_with_keys_from_anywhere(rgw, aws, s3, ini, mount, folder, config, asked):
    """They sign for it, and their token goes along; S3 sees the role's alone."""
    base = aws.keys[0] if asked else aws.keys[2]  # the first that are handed out, or that are there
    aws.users = {key["AccessKeyId"]: key["SecretAccessKey"] for key in aws.keys}
    aws.users[rgw.access_key] = rgw.secret_key
    aws.web_token = "eyJ.x+y/z.=="
    words = {"middle": f"role_arn = {MIDDLE_ARN}\n",
             "token": write(os.path.join(folder, "token"), aws.web_token.encode()),
             "keys": write(os.path.join(folder, "keys"), json.dumps(
                 {"Version": 1, **{name: base[name] for name in SECRETS}}).encode())}
    m = mount(ini + "profile = ml\n", run=False, env={
        "AWS_ENDPOINT_URL_STS": aws.url, "AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER,
        "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url,
        "AWS_ACCESS_KEY_ID": base["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": base["SecretAccessKey"],
        "AWS_SESSION_TOKEN": base["SessionToken"]})
    profile(m, "credentials", f"[base]\naws_access_key_id = {rgw.access_key}\n"
            f"aws_secret_access_key = {rgw.secret_key}\n")
    profile(m, "config", f"[profile ml]\nrole_arn = {ROLE_ARN}\n" + config.format(**words))
    m.start()
    works(m)
    assert aws.asked == [*asked, "AssumeRole"]
    *before, last = [(form["Action"], form["signer"], form["RoleArn"]) for form in aws.forms]
    assert last == ("AssumeRole", base["AccessKeyId"], ROLE_ARN)
    assert before in ([], [("AssumeRole", rgw.access_key, MIDDLE_ARN)],
                      [("AssumeRoleWithWebIdentity", None, MIDDLE_ARN)])
    assert signers(s3) == aws.issued[-1:] != [base["AccessKeyId"]]
    assert credentials_line(m).startswith(f"profile ml (assumed role {ROLE_ARN}), expire in ")
    shows_no_secret(m, aws, rgw.secret_key, aws.web_token, base["SecretAccessKey"], base["SessionToken"])


@pytest.mark.parametrize("config, each", [
    ("source_profile = base\n", ["AssumeRole"]),
    ("credential_source = EcsContainer\n", ["container", "AssumeRole"]),
], ids=["by keys", "by a container's"])
def test_a_role_is_renewed_while_it_is_read(rgw, aws, s3, ini, mount, config, each):
    """And the keys that sign for it are asked for anew each time, as they may have an end, too."""
    aws.life = 4
    aws.users = {key["AccessKeyId"]: key["SecretAccessKey"] for key in aws.keys}
    aws.users[rgw.access_key] = rgw.secret_key
    m = mount(ini + "profile = ml\n", run=False, env={
        "AWS_ENDPOINT_URL_STS": aws.url, "AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    profile(m, "credentials", f"[base]\naws_access_key_id = {rgw.access_key}\n"
            f"aws_secret_access_key = {rgw.secret_key}\n")
    profile(m, "config", f"[profile ml]\nrole_arn = {ROLE_ARN}\n" + config)
    m.start()
    comes_to_work(m)
    wait_for(lambda: stat_of_nothing(m) == "ENOENT" and len(signers(s3)) >= 2, 30 * SLOWER, "other keys")
    used, issued = signers(s3), list(zip(aws.asked, aws.issued))
    roles = [key for kind, key in issued if kind == "AssumeRole"]
    bases = [key for kind, key in issued if kind == "container"]
    assert len(roles) >= 2 and set(used) <= set(roles)
    assert [kind for kind, _ in issued] == (each * len(issued))[:len(issued)]
    for form, base in zip(aws.forms, bases or [rgw.access_key] * len(roles)):
        assert form["signer"] == base
    shows_no_secret(m, aws, rgw.secret_key)


@pytest.mark.parametrize("settings, host, region", [
    ("", "sts.us-east-1.amazonaws.com", "us-east-1"),
    ("region = eu-west-1\n", "sts.eu-west-1.amazonaws.com", "eu-west-1"),
    ("region = cn-north-1\n", "sts.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ("region = eu-west-1\nsts_regional_endpoints = legacy\n", "sts.amazonaws.com", "us-east-1"),
    ("region = eu-south-1\nsts_regional_endpoints = legacy\n", "sts.eu-south-1.amazonaws.com",
     "eu-south-1"),
], ids=["default", "region", "china", "legacy", "legacy, but newer"])
def test_aws_s_own_sts(rgw, aws, s3, ini, mount, folder, settings, host, region):
    """Through the proxy that the environment names, so that no question leaves this machine; TLS is for that
    host, and the signature for its region."""
    front = TlsProxy(folder, aws.port, host).start()
    tunnel = Tunnel(front.port).start()
    try:
        aws.users[rgw.access_key] = rgw.secret_key
        m = mount(ini + "profile = ml\n", run=False, env={
            "https_proxy": f"http://127.0.0.1:{tunnel.port}", "AWS_CA_BUNDLE": front.ca})
        profile(m, "credentials", f"[ml]\naws_access_key_id = {rgw.access_key}\n"
                f"aws_secret_access_key = {rgw.secret_key}\n")
        profile(m, "config", f"[profile ml]\nrole_arn = {ROLE_ARN}\nsource_profile = ml\n{settings}")
        m.start()
        works(m)
        assert set(tunnel.asked) == {f"CONNECT {host}:443 HTTP/1.1"}
        assert [form["region"] for form in aws.forms] == [region]
        assert signers(s3) == aws.issued
    finally:
        tunnel.stop()
        front.stop()


def test_an_endpoint_of_the_environment(rgw, bucket, s3, mount):
    """The CLI's variable brings the requests there, where the ini names no endpoint."""
    said = rgw.ini(bucket, s3.port)
    unsaid = re.sub("^endpoint = .*\n", "", said, flags=re.M)
    assert unsaid != said
    works(mount(NO_HOSTS + unsaid, env={"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3.port}"}))
    assert s3.gets("model.zip")


def test_an_endpoint_of_the_profile(rgw, bucket, s3, mount):
    """As its services say it; after SIGHUP it is what it was."""
    ini = NO_HOSTS + f"[models]\nbucket = {bucket}\nprofile = lab\n"
    m = mount(ini, run=False)
    profile(m, "config", f"[profile lab]\nservices = lab\naws_access_key_id = {rgw.access_key}\n"
            f"aws_secret_access_key = {rgw.secret_key}\n"
            f"[services lab]\ns3 =\n  endpoint_url = http://127.0.0.1:{s3.port}\n")
    m.start()
    works(m)
    assert s3.gets("model.zip")
    profile(m, "config", "[profile lab]\nregion = no.region\n")
    m.write_ini(ini + "max_connections = 7\n")
    m.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload: [models] max_connections: a change" in m.log(), 10 * SLOWER, "the reload")
    works(m)


def test_a_role_that_is_refused(rgw, aws, ini, mount):
    aws.users[rgw.access_key] = "another secret"
    m = mount(ini + "profile = ml\n", env={"AWS_ENDPOINT_URL": aws.url}, run=False)
    profile(m, "credentials", f"[ml]\naws_access_key_id = {rgw.access_key}\n"
            f"aws_secret_access_key = {rgw.secret_key}\nrole_arn = {ROLE_ARN}\nsource_profile = ml\n")
    m.start()
    assert stat_of_nothing(m) == "EACCES"
    assert "SignatureDoesNotMatch" in m.status() and "SignatureDoesNotMatch" in m.log()
    aws.users[rgw.access_key] = rgw.secret_key
    wait_for(lambda: stat_of_nothing(m) == "ENOENT", 30 * SLOWER, "the role")
    works(m)
    shows_no_secret(m, aws, rgw.secret_key)


def test_a_web_identity(aws, s3, ini, mount, folder):
    aws.web_token = "eyJ.x+y/z.=="
    path = write(os.path.join(folder, "token"), aws.web_token.encode())
    m = mount(ini, env={"AWS_ENDPOINT_URL_STS": aws.url + "/", "AWS_ROLE_ARN": ROLE_ARN,
                        "AWS_WEB_IDENTITY_TOKEN_FILE": path, "AWS_ROLE_SESSION_NAME": "pod-1"})
    works(m)
    assert credentials_line(m).startswith(
        f"environment (web identity, assumed role {ROLE_ARN}), expire in ")
    assert aws.asked == ["AssumeRoleWithWebIdentity"]
    shows_no_secret(m, aws, aws.web_token)


def test_a_web_identity_of_a_profile(aws, s3, ini, mount, folder):
    aws.web_token = "eyJ.x+y/z.=="
    path = write(os.path.join(folder, "token"), aws.web_token.encode())
    m = mount(ini + "profile = ml\n", env={"AWS_ENDPOINT_URL_STS": aws.url}, run=False)
    profile(m, "config", f"[profile ml]\nrole_arn = {ROLE_ARN}\nweb_identity_token_file = {path}\n"
            "role_session_name = pod-2\nduration_seconds = 900\n")
    m.start()
    works(m)
    assert credentials_line(m).startswith(
        f"profile ml (web identity, assumed role {ROLE_ARN}), expire in ")
    assert aws.asked == ["AssumeRoleWithWebIdentity"]
    assert (aws.forms[0]["RoleSessionName"], aws.forms[0]["DurationSeconds"]) == ("pod-2", "900")
    assert signers(s3) == aws.issued
    shows_no_secret(m, aws, aws.web_token)


def test_a_web_identity_is_renewed_with_the_token_of_the_day(aws, s3, ini, mount, folder):
    """Who writes the file puts another in its place before the token ends, as the kubelet does."""
    aws.life = 4
    aws.web_token = "first.token.=="
    path = write(os.path.join(folder, "token"), aws.web_token.encode())
    m = mount(ini, env={"AWS_ENDPOINT_URL_STS": aws.url, "AWS_ROLE_ARN": ROLE_ARN,
                        "AWS_WEB_IDENTITY_TOKEN_FILE": path})
    comes_to_work(m)
    before = len(aws.forms)
    os.rename(write(path + ".new", b"second.token.=="), path)
    aws.web_token = "second.token.=="
    wait_for(lambda: aws.forms[-1]["WebIdentityToken"] == "second.token.==", 30 * SLOWER, "a renewal")
    assert {form["WebIdentityToken"] for form in aws.forms[:before]} == {"first.token.=="}
    s3.reset_counts()
    wait_for(lambda: stat_of_nothing(m) == "ENOENT" and aws.issued[-1] in signers(s3), 30 * SLOWER, "its keys")
    assert set(aws.asked) == {"AssumeRoleWithWebIdentity"}
    assert m.metric("scoutfs_s3_credentials_renewed_total") >= 2
    shows_no_secret(m, aws, "first.token.==", "second.token.==")


def test_the_region_of_the_profile(rgw, s3, ini, mount):
    """It is signed for, unless the ini says another."""
    keys = f"aws_access_key_id = {rgw.access_key}\naws_secret_access_key = {rgw.secret_key}\n"
    for more, region in (("", "eu-west-1"), ("region = eu-west-2\n", "eu-west-2")):
        s3.reset_counts()
        m = mount(ini + more, run=False)
        profile(m, "config", f"[default]\nregion = eu-west-1\n{keys}")
        m.start()
        works(m)
        assert {r.headers["authorization"].split("/")[2] for r in s3.requests} == {region}


def test_a_credential_process(rgw, aws, s3, ini, mount, folder):
    """Run once for each renewal, and never more than one at a time."""
    script = write(os.path.join(folder, "keys of mine.py"), b"""
import datetime, json, os, sys
print("a secret complaint", file=sys.stderr)
os.mkdir(sys.argv[1] + "/running")
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
print(json.dumps({"Version": 1, "AccessKeyId": sys.argv[2], "SecretAccessKey": sys.argv[3],
                  "SessionToken": sys.argv[4], "Expiration": end.isoformat()}))
with open(sys.argv[1] + "/runs", "a") as f:
    f.write("x")
os.rmdir(sys.argv[1] + "/running")
""")
    keys = aws.keys[2]
    words = [keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]]
    m = mount(ini, run=False)
    profile(m, "config", f"[default]\ncredential_process = /usr/bin/python3 '{script}' {folder} "
            f"{words[0]} \"{words[1]}\" {words[2]}\n")
    m.start()
    comes_to_work(m)
    assert credentials_line(m).startswith("profile default (credential_process), expire")
    wait_for(lambda: len(read(os.path.join(folder, "runs"))) >= 2, 30 * SLOWER, "a renewal")
    assert m.metric("scoutfs_s3_credentials_failures_total") == 0
    wait_for(lambda: stat_of_nothing(m) == "ENOENT", 30 * SLOWER, "keys")
    assert signers(s3) == words[:1]
    shows_no_secret(m, aws, "a secret complaint", *words[1:])


def test_a_role_of_a_real_sts(rgw, aws, s3, ini, mount):
    """The gateway's own, whose keys it believes only together with their token."""
    m = mount(ini + "profile = ml\n", env={"AWS_ENDPOINT_URL_STS": rgw.endpoint}, run=False)
    profile(m, "credentials", f"[base]\naws_access_key_id = {rgw.access_key}\n"
            f"aws_secret_access_key = {rgw.secret_key}\n")
    profile(m, "config", f"[profile ml]\nrole_arn = {rgw.role_arn}\nsource_profile = base\n")
    m.start()
    works(m)
    assert signers(s3) != [rgw.access_key]
    assert re.match(re.escape(f"profile ml (assumed role {rgw.role_arn}), expire in ") +
                    r"(59m \d+s|1h 0m)$", credentials_line(m))
    shows_no_secret(m, aws, rgw.secret_key)


def test_a_renewal_that_fails(aws, s3, ini, mount):
    """The old keys are used until they expire; then requests fail, and say why, until there are new ones."""
    aws.life = 3
    m = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    comes_to_work(m)
    aws.broken = True
    wait_for(lambda: m.metric("scoutfs_s3_credentials_failures_total") >= 1, 30 * SLOWER, "a failure")
    wait_for(lambda: re.search(r"^  renewal      failed .* ago: container endpoint: HTTP status 500$",
                               m.status(), re.M), 30 * SLOWER, "the reason")
    wait_for(lambda: stat_of_nothing(m) == "EACCES", 30 * SLOWER, "the end of the old keys")
    assert re.search(r"expired .* ago$", credentials_line(m))
    assert m.metric("scoutfs_s3_credentials_expire_seconds") == 0
    assert "the credentials have expired: container endpoint: HTTP status 500" in m.log()
    aws.broken = False
    wait_for(lambda: stat_of_nothing(m) == "ENOENT", 60 * SLOWER, "new keys")
    assert not re.search(r"^  renewal ", m.status(), re.M)
    assert len(aws.issued) >= 2


def refuse(tokens, code):
    """What S3 answers to requests that carry one of tokens."""
    def fault(request):
        if request.headers.get("x-amz-security-token") in tokens:
            return Answer(status=400, code=code)
        return None
    return fault


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken"])
def test_a_token_that_s3_refuses_early_is_renewed_at_once(aws, s3, ini, mount, code):
    """Once, however many hear of it, and none of them fails."""
    m = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    works(m)
    assert stat_of_nothing(m) == "ENOENT" and len(aws.issued) == 1
    s3.fault = refuse([aws.keys[0]["SessionToken"]], code)
    got = together([lambda: works(m)] + [lambda: stat_of_nothing(m)] * 8)
    assert got == [None] + ["ENOENT"] * 8
    assert len(aws.issued) == 2 and signers(s3) == aws.issued
    assert m.metric("scoutfs_s3_credentials_renewed_total") == 2
    assert "the server takes the credentials no more" in m.log()
    shows_no_secret(m, aws)


def test_a_token_that_s3_refuses_whatever_it_is(aws, s3, ini, mount):
    """Each call is tried once more, and then fails; a HEAD that is refused is asked as a GET, too. New
    credentials are not asked for twice in 10 s."""
    m = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    works(m)
    s3.reset_counts()
    s3.fault = refuse([key["SessionToken"] for key in aws.keys], "ExpiredToken")
    refused, seconds = timed(lambda: [stat_of_nothing(m) for _ in range(3)])
    assert refused == ["EACCES"] * 3
    assert len(aws.issued) == 2 or seconds >= 10
    of_calls = [r.call for r in s3.requests]
    heads = {r.call for r in s3.requests if r.method == "HEAD"}
    assert all(1 <= of_calls.count(call) <= (5 if call in heads else 2) for call in of_calls)
    s3.fault = lambda request: None
    assert stat_of_nothing(m) == "ENOENT"


def test_a_400_without_a_body_is_no_token_refused(rgw, bucket, aws, s3, ini, mount):
    """AWS has 400 for many things; the answer to a HEAD does not say for which: that of a GET of one byte does."""
    m = mount(ini + "versions = yes\n",
              env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    works(m)
    s3.reset_counts()
    s3.fault = lambda r: Answer(status=400) if r.method == "HEAD" else None
    assert stat_of_nothing(m) == "ENOENT"
    assert [r.range for r in s3.gets()] == ["bytes=0-0"]
    s3.fault = lambda r: Answer(status=400, code="InvalidArgument") if "dsf" in r.query else None
    assert error(os.stat, m.model("a", "v1", ".versions", "model.zip", "dsf")) == "ENOENT"
    s3.fault = lambda r: Answer(status=400, code="InvalidRequest") if "nothing" in r.path else None
    assert stat_of_nothing(m) == "EIO"
    rgw.put(bucket, "a/v1/new", b"new")
    s3.fault = lambda r: Answer(status=400) if r.method == "HEAD" else None
    assert error(os.stat, m.model("a", "v1", "new")) == "EIO"
    assert {r.range for r in s3.gets("new")} == {"bytes=0-0"}
    assert len(aws.issued) == 1 and m.metric("scoutfs_s3_credentials_renewed_total") == 1
    assert "takes the credentials no more" not in m.log()
    keys = mount(NO_HOSTS + rgw.ini(bucket, s3.port, versions="yes"))
    assert error(os.stat, keys.model("a", "v1", ".versions", "model.zip", "dsf")) == "ENOENT"


def test_without_credentials_nothing_is_waited_for(rgw, bucket, aws, ini, mount):
    """A metadata service that is silent, or none: the mount is up, and requests are anonymous."""
    rgw.client().put_bucket_acl(Bucket=bucket, ACL="public-read")
    rgw.client().put_object_acl(Bucket=bucket, Key="a/v1/model.zip", ACL="public-read")
    aws.silent = True
    env = {"AWS_EC2_METADATA_DISABLED": "false"}
    for endpoint in (aws.url, f"http://127.0.0.1:{free_port()}"):
        m = mount(ini, env={**env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint})
        works(m)
        assert credentials_line(m) == "anonymous"
        assert m.metric("scoutfs_s3_credentials_failures_total") == 0
    assert len(aws.asked) >= 2 and set(aws.asked) == {"in vain"}


def test_while_the_first_keys_are_awaited(aws, ini, mount):
    """The mount is up, requests wait and can be interrupted, status says so, and it ends at once."""
    aws.silent = True
    m = mount(ini, env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + CONTAINER})
    assert credentials_line(m) == "container endpoint, none yet"
    reader = subprocess.Popen(["cat", m.model("a", "v1", "model.zip")], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    wait_for(lambda: re.search(r" [1-9]\d* queued", m.status()), 10 * SLOWER, "a request")
    reader.send_signal(signal.SIGINT)
    assert reader.wait(10 * SLOWER) == -signal.SIGINT
    m.unmount()


@pytest.mark.parametrize("config, words", [
    ("[default]\nsso_session = x\n", "profile default uses SSO"),
    ("[default]\nrole_arn = a\nsource_profile = default\n", "leads round in a circle"),
    ("[default]\nrole_arn = a\nsource_profile = default\nmfa_serial = x\n", "mfa_serial"),
])
def test_what_cannot_be_is_said_at_the_start(ini, mount, config, words):
    m = mount(ini, run=False)
    profile(m, "config", config)
    with open(m.log_path, "wb") as log:
        ended = subprocess.run(command(m.ini_path, m.point, "-f"), env=m.env, stdout=log, stderr=log,
                               stdin=subprocess.DEVNULL, timeout=20 * SLOWER, check=False)
    assert ended.returncode == 1
    assert words in m.log()
