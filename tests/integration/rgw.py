"""A throw-away S3 server: Ceph's gateway over one monitor and one object store in memory.

Every path is relative to the folder the daemons are started in, so that its name does not matter.
"""

import json
import os
import re
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

from procs import answers, end, free_port, run, tool, wait_for

CONFIG = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
public addr = 127.0.0.1
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
run dir = .
crash dir = .
admin socket =
keyring = keyring
log file = $name.log
log to stderr = false
mon data = mon
mon allow pool size one = true
mon max pg per osd = 1000
paxos propose interval = 0.02
paxos min wait = 0.01
osd data = osd
osd objectstore = memstore
memstore device bytes = {memory}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw data = rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw get obj window size = 4194304
rgw dns name = {name}
rgw run sync thread = false
rgw dynamic resharding = false
rgw s3 auth use sts = true
rgw sts key = 0123456789abcdef
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = testkey=YmluCmJvb3N0CmJvb3N0LWJ1aWxkCmNlcGguY29uZgo=
"""


def _policy(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Rgw:
    access_key = "SCOUTFSTESTACCESSKEY"
    secret_key = "scoutfs/test+secret/0123456789abcdefghij"
    role_arn = "arn:aws:iam:::role/reader"

    def __init__(self, folder, memory=4 << 30, name="s3.test"):
        self.folder = str(folder)
        self.name = name  # below which buckets have theirs
        self.memory = memory
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.processes = []
        self._client = None
        self._role_keys = []
        self._deleted = 0  # bytes since the gateway's own garbage was last collected

    def _env(self):
        return dict(os.environ, CEPH_CONF="ceph.conf")

    def _run(self, *command):
        try:
            return run(tool(command[0]), "-c", "ceph.conf", *command[1:], cwd=self.folder,
                       env=self._env())
        except subprocess.CalledProcessError as e:
            raise RuntimeError(f"{e.cmd}: {e.returncode}\n{e.stdout}{e.stderr}") from e

    def _spawn(self, *command):
        with open(os.path.join(self.folder, command[0] + ".out"), "wb") as out:
            process = subprocess.Popen([tool(command[0]), "-c", "ceph.conf", *command[1:]],
                                       cwd=self.folder, env=self._env(), stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=out, start_new_session=True)
        self.processes.append(process)
        return process

    def start(self):
        mon_port, fsid, osd = free_port(), str(uuid.uuid4()), str(uuid.uuid4())
        for name in ("mon", "osd", "rgw"):
            os.makedirs(os.path.join(self.folder, name))
        with open(os.path.join(self.folder, "ceph.conf"), "w", encoding="utf-8") as f:
            f.write(CONFIG.format(fsid=fsid, mon_port=mon_port, port=self.port, memory=self.memory,
                                  name=self.name))
        run(tool("monmaptool"), "--create", "--fsid", fsid, "--addv", "a",
            f"[v2:127.0.0.1:{mon_port}/0]", "--set-min-mon-release", "16", "monmap",
            cwd=self.folder)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self._spawn("ceph-mon", "-i", "a", "-f")
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-i", "0", "-f")
        self._run("radosgw-admin", "user", "create", "--uid", "scout", "--display-name", "scout",
                  "--access-key", self.access_key, "--secret-key", self.secret_key)
        gateway = self._spawn("radosgw", "-n", "client.rgw", "-f")
        wait_for(lambda: answers(self.port) or gateway.poll() is not None, 30, "radosgw")
        if gateway.poll() is not None:
            raise RuntimeError("radosgw ended, see " + self.folder)
        return self

    def stop(self):
        for process in reversed(self.processes):
            end(process)
        self.processes = []

    def freeze(self):
        self.processes[-1].send_signal(signal.SIGSTOP)

    def thaw(self):
        self.processes[-1].send_signal(signal.SIGCONT)

    def _make_role(self):
        """A role with all rights, which the user may take."""
        may = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/scout"]},
               "Action": ["sts:AssumeRole"]}
        rights = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}
        self._run("radosgw-admin", "role", "create", "--role-name", "reader",
                  "--assume-role-policy-doc", _policy(may))
        self._run("radosgw-admin", "role-policy", "put", "--role-name", "reader", "--policy-name",
                  "all", "--policy-doc", _policy(rights))

    def role_keys(self, count):
        """That many different keys of the role, each with the token that belongs to it, as AssumeRole's
        Credentials; the same ones in every call."""
        if not self._role_keys:
            self._make_role()
        while len(self._role_keys) < count:
            answer = self._new_client("sts").assume_role(RoleArn=self.role_arn, RoleSessionName="test")
            self._role_keys.append(answer["Credentials"])
        return self._role_keys[:count]

    def _new_client(self, service, **config):
        import boto3
        from botocore.config import Config
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key,
            config=Config(proxies={}, read_timeout=60, retries={"total_max_attempts": 2}, **config))

    def client(self):
        if self._client is None:
            self._client = self._new_client("s3", s3={"addressing_style": "path"})
        return self._client

    def make_bucket(self, name):
        self.client().create_bucket(Bucket=name)
        return name

    def empty(self, bucket):
        """Gives back the room that it takes in the store, which lets all wait when it is full."""
        client = self.client()
        for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"],
                                          UploadId=upload["UploadId"])
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            objects = page.get("Contents", [])
            if objects:
                keys = [{"Key": one["Key"]} for one in objects]
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            self._deleted += sum(one["Size"] for one in objects)
        if self._deleted > 256 << 20:  # else the gateway keeps all but their heads for two hours
            self._run("radosgw-admin", "gc", "process", "--include-all")
            self._deleted = 0

    def put(self, bucket, key, body):
        return self.client().put_object(Bucket=bucket, Key=key, Body=body)["ETag"]

    def put_parts(self, bucket, key, bodies):
        """By a multipart upload."""
        client, upload = self.client(), {"Bucket": bucket, "Key": key}
        upload["UploadId"] = client.create_multipart_upload(**upload)["UploadId"]

        def put_part(number, body):
            return {"PartNumber": number,
                    "ETag": client.upload_part(PartNumber=number, Body=body, **upload)["ETag"]}

        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(put_part, range(1, len(bodies) + 1), bodies))
        client.complete_multipart_upload(MultipartUpload={"Parts": parts}, **upload)

    def copy(self, bucket, key, to):
        """Which takes no more room."""
        self.client().copy_object(Bucket=bucket, Key=to, CopySource={"Bucket": bucket, "Key": key})

    def ini(self, bucket, port=None, secret=True, **more):
        """The [models] section; port when a proxy stands before it."""
        lines = ["[models]", f"endpoint = http://127.0.0.1:{port or self.port}",
                 f"bucket = {bucket}"]
        if secret:
            lines += [f"access_key_id = {self.access_key}", f"secret_access_key = {self.secret_key}"]
        lines += [f"{key} = {value}" for key, value in more.items()]
        return "\n".join(lines) + "\n"
