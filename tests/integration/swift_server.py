"""A throw-away OpenStack Swift with its S3 API: a second opinion on signing, listing and ranges.

All of its servers in one process and on loopback, objects in memory, accounts and containers in a folder.
Unlike radosgw it refuses a request that was signed for a wrong region.
"""

import os
import subprocess
import sys

from procs import answers, end, free_port, wait_for


class Swift:
    access_key = "test:tester"
    secret_key = "testing"
    region = "us-east-1"
    page = 7  # keys of a listing come by so many

    def __init__(self, folder):
        self.folder = str(folder)
        self.port = free_port()
        self.process = None

    def start(self):
        with open(os.path.join(self.folder, "swift.out"), "wb") as out:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", os.path.abspath(__file__), self.folder, str(self.port)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        wait_for(lambda: answers(self.port) or self.process.poll() is not None, 60, "swift")
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "swift.out"), encoding="utf-8") as out:
                raise RuntimeError("swift ended:\n" + out.read())
        return self

    def stop(self):
        if self.process:
            end(self.process)

    def client(self):
        import boto3
        from botocore.config import Config
        return boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name=self.region,
            aws_access_key_id=self.access_key, aws_secret_access_key=self.secret_key,
            config=Config(s3={"addressing_style": "path"}, proxies={}))

    def ini(self, bucket, port=None, **more):
        more = {"access_key_id": self.access_key, "secret_access_key": self.secret_key, **more}
        lines = ["[models]", f"endpoint = http://127.0.0.1:{port or self.port}",
                 f"bucket = {bucket}"]
        return "\n".join(lines + [f"{key} = {value}" for key, value in more.items()]) + "\n"


# the server's own process


class Memory:
    """What Swift asks of memcached."""

    def __init__(self):
        self.kept = {}

    def get(self, key, **_):
        return self.kept.get(key)

    def set(self, key, value, **_):
        self.kept[key] = value

    def delete(self, key, **_):
        self.kept.pop(key, None)

    def incr(self, key, delta=1, **_):
        self.kept[key] = self.kept.get(key, 0) + delta
        return self.kept[key]


def serve(folder, port):
    import eventlet
    eventlet.monkey_patch()
    import array
    import eventlet.wsgi
    from swift.common import utils
    with open(os.path.join(folder, "swift.conf"), "w", encoding="utf-8") as f:
        f.write("[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n")
    utils.SWIFT_CONF_FILE = os.path.join(folder, "swift.conf")
    utils.validate_hash_conf()
    from swift.account.server import AccountController
    from swift.common.middleware.s3api.s3api import filter_factory as s3api_factory
    from swift.common.middleware.tempauth import filter_factory as tempauth_factory
    from swift.common.ring import RingData
    from swift.container.server import ContainerController
    from swift.obj.mem_server import ObjectController
    from swift.proxy.server import Application

    os.makedirs(os.path.join(folder, "sda1"))
    conf = {"devices": folder, "swift_dir": folder, "mount_check": "false", "disable_fallocate":
            "true", "log_level": "ERROR", "account_autocreate": "true", "bind_ip": "127.0.0.1"}

    def listen(app, at=0):
        listener = eventlet.listen(("127.0.0.1", at))
        eventlet.spawn(eventlet.wsgi.server, listener, app, utils.get_logger(conf),
                       log_output=False)
        return listener.getsockname()[1]

    for name, app in (("account", AccountController), ("container", ContainerController),
                      ("object", ObjectController)):
        device = {"id": 0, "zone": 0, "device": "sda1", "ip": "127.0.0.1", "port": listen(app(conf)),
                  "weight": 1}
        RingData([array.array("H", [0, 0])], [device], 31).save(
            os.path.join(folder, f"{name}.ring.gz"))

    app = Application(dict(conf, allow_account_management="true"))
    app = tempauth_factory({}, user_test_tester="testing .admin")(app)
    app = s3api_factory(conf, auth_pipeline_check="no", location=Swift.region,
                        max_bucket_listing=Swift.page)(app)
    memory = Memory()

    def with_memory(env, start_response):
        env["swift.cache"] = memory
        return app(env, start_response)

    listen(with_memory, port)
    while True:
        eventlet.sleep(3600)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
