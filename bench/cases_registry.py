"""The registry: many readers of one model and of many, one reader, first bytes, names, and small files beside bulk.

It is one of 500 models (fill_registry.py), of which 100 have the real one's size; beside the real one lie larger
objects. Far is 20 ms of round trip and 60 MB/s a connection, as S3 is for many.
"""

import concurrent.futures
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time

import contestants
import suite
import works
from fill_registry import texts
from procs import end, wait_for
from servers import BUCKET
from suite import Case, at

MIB = 1 << 20
SIZE = 24_834_009  # of the real model's zip, as the original project measured it
REAL = "arnir0_Tiny-LLM/main"
MODEL = REAL + "/model.zip"
FAR = (20, 60_000_000)
CONNECTIONS = 16  # of curl; more of them carried less
SMALL = 60  # files whose latency is measured


def cases(b):
    registry = Registry(b)
    for part in (one_model, many_models, one_reader, first_bytes, names, small_beside_bulk):
        yield from part(registry)


def connect(c):
    """Nobody has the names of what is to be read when the clock starts. The look that connects makes scoutfs list all
    keys, too: that is waited for and then forgotten (touch). rclone keeps what it has listed of the root."""
    suite.connect(c)
    if isinstance(c, contestants.Scoutfs):
        wait_for(lambda: c.metric("scoutfs_models_catalogue_keys"), contestants.LIMIT, "the listing")
        os.utime(c.root)


def named(what, link):
    return f"models: {what}{', rtt 20, 60 MB/s' if link else ''}"


class Registry:
    """Filled when the first case needs it."""

    def __init__(self, b):
        self.b = b
        self.made = set()

    @property
    def large(self):
        """MiB of the object for one reader."""
        return 128 if self.b.quick else 1024

    def env(self):
        """No proxy is asked for what is on loopback."""
        return dict(os.environ, AWS_ACCESS_KEY_ID=self.b.rgw.access_key, AWS_REGION="us-east-1",
                    AWS_SECRET_ACCESS_KEY=self.b.rgw.secret_key, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")

    def fill(self):
        """500 models, the real one and 99 copies of it among them."""
        if "models" in self.made:
            return
        fill = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fill_registry.py")
        works.do(sys.executable, fill, "--bucket", BUCKET, "--endpoint", self.b.rgw.endpoint, "--bytes", str(SIZE),
                 env=self.env())
        s3 = self.b.rgw.client()
        for name in self.models(100)[1:]:
            s3.copy_object(Bucket=BUCKET, Key=name, CopySource={"Bucket": BUCKET, "Key": MODEL})
        self.made.add("models")

    def put(self, mib, whole=False):
        """An object beside the real model: in parts, as AWS's tools put what is large; or whole, so that its
        ETag is an MD5. Returns its key."""
        key = f"{REAL}/{mib}m{'-whole' if whole else ''}"
        if key in self.made:
            return key
        blocks = [os.urandom(64 * MIB)] * (mib // 64)
        if whole:
            self.b.rgw.put(BUCKET, key, b"".join(blocks))
        else:
            self.b.rgw.put_parts(BUCKET, key, blocks)
        self.made.add(key)
        return key

    @staticmethod
    def models(count):
        """Names of so many model.zips of that size."""
        return [MODEL, *(f"model-{n:03}/main/model.zip" for n in range(1, count))]

    def page_cache(self):
        """The same model as a local file, which is in memory."""
        folder = self.b.make_folder("local")
        os.makedirs(os.path.join(folder, REAL))
        self.b.rgw.client().download_file(BUCKET, MODEL, os.path.join(folder, MODEL))
        return contestants.Own(folder)

    def no_mount(self, count, keys, link):
        """As many clients straight at S3, without any mount: each fetches for itself. (open, work)."""
        urls = [f"http://127.0.0.1:{{}}/{BUCKET}/{key}" for key in keys]

        def work(program):
            port = self.b.s3_port(*link)
            return self.run_load(count, [url.format(port) for url in urls],
                                 lambda *words: program.run(*words, env=self.env()))
        return lambda: contestants.Program(self.b), work

    def readers(self, count, keys):
        """So many at once, who share out the keys among them: the time of all, and the figures of each."""
        return lambda c: self.run_load(count, [f"{c.root}/{key}" for key in keys], works.do)

    def run_load(self, count, targets, do):
        folder = self.b.make_folder("load")
        out = os.path.join(folder, "json")
        do(os.path.join(self.b.builds, "scoutfs-load"), "-c", str(count), "-o", out, *targets)
        with open(out, encoding="utf-8") as f:
            figures = json.load(f)
        if figures["bytes"] != count * SIZE:
            raise RuntimeError(f"{figures['bytes']} bytes came, not {count} of {SIZE}")
        more = {} if count == 1 else {f"{name} s": round(figures[f"{name}_s"], 3)
                                      for name in ("mean", "median", "p99", "min", "max")}
        return {"value": figures["elapsed_s"], "seconds": figures["elapsed_s"], **more,
                "success": f"{figures['success_percent']:.0f} %",
                "samples": [1000 * s for client in figures["per_client"] for s in client["seconds"]]}


def one_model(registry):
    """The curve over the number of readers, its 100 among them, near; and those far."""
    b = registry.b
    counts = (1, 100) if b.quick else (1, 10, 50, 100, 200)
    for link in ((), FAR):
        for count in counts if not link else (1, 100):
            who = contestants.models(b, *link)
            if not link:
                who["page cache"] = registry.page_cache
            if count == 1:
                who["curl"] = contestants.with_curl(b, MODEL, SIZE, CONNECTIONS, *link)
            if count == 1 or count == 100 and not b.quick:
                who["no mount"] = registry.no_mount(count, [MODEL], link)
            yield Case(named(f"{count} reader{'s' if count > 1 else ''} of 24.8 MB", link), who,
                       registry.readers(count, [MODEL]), prepare=registry.fill, before=connect, moved=count * SIZE,
                       plot=None if link else ("readers", count), target=WANTED.get((count, bool(link)), {}),
                       note=f"curl: {CONNECTIONS} ranges at once" if count == 1 else "")


WANTED = {  # of how many readers, far?
    (100, False): {"page cache": 1 / 1.3, "rclone full": 1},
    (100, True): {"rclone full": 2},
    (1, True): {"rclone": 3, "rclone full": 3, "s3fs": 3},
}


def many_models(registry):
    for count, link in ((20, FAR),) if registry.b.quick else ((20, FAR), (100, ())):
        who = contestants.models(registry.b, *link)
        if not registry.b.quick:
            who["no mount"] = registry.no_mount(count, registry.models(count), link)
        yield Case(named(f"{count} readers of {count} models", link), who,
                   registry.readers(count, registry.models(count)), prepare=registry.fill, before=connect,
                   moved=count * SIZE)


def and_say(work, tell):
    """That work, and what tell(contestant, seconds) says of it then."""
    def both(c):
        start = time.monotonic()
        work(c)
        seconds = time.monotonic() - start
        return {"value": seconds, "seconds": seconds, **tell(c, seconds)}
    return both


def verified(c, _):
    """Of scoutfs: whether all of it was compared with its checksum."""
    return {"verified": "yes" if c.metric("scoutfs_models_verified_total") == 1 else "no"}


def share(size, seconds, connections):
    """Of what so many connections could have carried far away, that which they did."""
    return {"connections": connections, "share of their 60 MB/s": round(size / seconds / (connections * FAR[1]), 3)}


def and_connections(work, size):
    """The same of scoutfs: the most connections that it had open."""
    def both(c):
        done, seen = threading.Event(), []

        def look():
            while not done.wait(0.2):
                seen.append(c.metric("scoutfs_s3_connections"))

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            looking = pool.submit(look)
            try:
                found = and_say(work, lambda c, _: seen.append(c.metric("scoutfs_s3_connections")) or {})(c)
            finally:
                done.set()
            looking.result()
        return {**found, **share(size, found["seconds"], max(seen))}
    return both


def one_reader(registry):
    b, mib = registry.b, registry.large
    size = mib * MIB
    for link, whole in (((), False), (FAR, False), ((), True))[:2 if b.quick else 3]:
        key = f"{REAL}/{mib}m{'-whole' if whole else ''}"
        who = contestants.models(b, *link)
        curls = {"curl": contestants.with_curl(b, key, size, CONNECTIONS, *link)}
        if not b.quick:
            curls["curl, 3 MiB"] = contestants.with_one_curl(b, key, size, 3 * MIB, CONNECTIONS, *link)
        if whole:
            who["scoutfs"] = who["scoutfs"], and_say(works.read(key), verified)
        if link:
            who["scoutfs"] = who["scoutfs"], and_connections(works.read(key), size)
            curls = {name: (opener, and_say(work, lambda _, seconds: share(size, seconds, CONNECTIONS)))
                     for name, (opener, work) in curls.items()}
        yield Case(named(f"1 reader of {mib} MiB{', put in one piece' if whole else ''}", link), {**who, **curls},
                   works.read(key), prepare=lambda whole=whole: (registry.fill(), registry.put(mib, whole)),
                   before=connect, moved=size, target=dict.fromkeys(("curl", "curl, 3 MiB"), 0.8 if link else 0.85),
                   note="its ETag is its MD5" if whole else
                   f"curl: {CONNECTIONS} ranges at once, of 1/{CONNECTIONS} or 3 MiB")


EACH = """
import json, os, sys, time
samples = []
for path, wanted in zip(sys.argv[2::2], sys.argv[3::2]):
    start = time.perf_counter()
    file = os.open(path, os.O_RDONLY)
    got = len(os.read(file, int(sys.argv[1])))
    samples.append((time.perf_counter() - start) * 1000)
    os.close(file)
    if got != int(wanted):
        sys.exit(f"{path}: {got} bytes")
print(json.dumps(samples))
"""


def each_opened(root, sizes, most, percent):
    """Opens {path: bytes} in turn and reads up to so many of each: the milliseconds of that percentile."""
    words = [word for path, size in sizes.items() for word in (f"{root}/{path}", str(min(size, most)))]
    with tempfile.TemporaryFile("w+") as out:
        works.do(sys.executable, "-S", "-c", EACH, str(most), *words, stdout=out)
        out.seek(0)
        samples = json.load(out)
    ordered = sorted(samples)
    return {"value": ordered[(len(ordered) - 1) * percent // 100], "samples": samples}


def first_bytes(registry):
    count = 10 if registry.b.quick else 20
    for link in (FAR,) if registry.b.quick else ((), FAR):
        yield Case(named(f"open and first byte of {count} models, median", link), contestants.models(registry.b, *link),
                   lambda c: each_opened(c.root, dict.fromkeys(registry.models(count + 1)[1:], SIZE), 1, 50), unit="ms",
                   prepare=registry.fill, before=connect)


def names(registry):
    b = registry.b
    count = 10 if b.quick else 50
    some = [f"ROOT/model-{n}" for n in range(100, 100 + count)]
    for rtt in (20,) if b.quick else (0, 20):
        who = contestants.models(b, rtt)
        yield Case(f"models: ls of 500{at(rtt)}", who, works.program("ls", "ROOT"), prepare=registry.fill, before=None)
        yield Case(f"models: ls of 500, then ls -lR of {count}{at(rtt)}", who, works.program(
            "sh", "-c", 'ls "$0" && ls -lR "$@"', "ROOT", *some), prepare=registry.fill, before=None,
            target={"rclone": 10, "rclone full": 10, "s3fs": 10} if rtt else {})


BULK = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
buffer, total, told, start = bytearray(1 << 20), 0, False, time.monotonic()
try:
    while True:
        file = os.open(sys.argv[1], os.O_RDONLY)
        while got := os.readv(file, [buffer]):
            total += got
            if total >= 16 << 20 and not told:
                told = True
                print(flush=True)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
finally:
    print(total / 1e6 / (time.monotonic() - start), flush=True)
"""


def small_beside_bulk(registry):
    for link in (FAR,) if registry.b.quick else ((), FAR):
        yield beside_bulk(registry, link)


def beside_bulk(registry, link):
    """Each config.json is of another model, so that none is cached."""
    b = registry.b
    mib = registry.large
    sizes = {f"model-{n}/main/config.json": len(texts(f"model-{n}")["config.json"]) for n in range(200, 200 + SMALL)}

    def alone(c):
        return each_opened(c.root, sizes, 4096, 95)

    def beside_another(c):
        """What of it is the machine's and the gateway's: the bulk comes by a mount of its own."""
        other = contestants.models(b, *link)["scoutfs"]()
        try:
            found = beside(c, other.root)
        finally:
            other.close()
        if other.fault:
            raise RuntimeError(other.fault)
        return found

    def beside(c, root=None):
        bulk = subprocess.Popen([sys.executable, "-S", "-c", BULK, f"{root or c.root}/{REAL}/{mib}m"], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True)
        try:
            if not select.select([bulk.stdout], [], [], contestants.LIMIT)[0] or bulk.stdout.readline() != "\n":
                raise RuntimeError("the bulk reader has read nothing")
            found = alone(c)
            if bulk.poll() is not None:
                raise RuntimeError(f"the bulk reader ended, status {bulk.returncode}")
            bulk.terminate()
            said = bulk.communicate(timeout=60)[0]
            if bulk.returncode:
                raise RuntimeError(f"the bulk reader: status {bulk.returncode}")
            return {**found, "bulk MB/s": round(float(said))}
        finally:
            end(bulk)

    who = {}
    for name, opener in contestants.models(b, *link).items():
        if not b.quick or name == "scoutfs":
            who[name] = (opener, beside)
            who[f"{name}, alone"] = (opener, alone)
    who["scoutfs, bulk by another mount"] = (who["scoutfs"][0], beside_another)
    return Case(named(f"p95 of open and read of {SMALL} config.json beside a reader of {mib} MiB", link), who, None,
                prepare=lambda: (registry.fill(), registry.put(mib)), before=connect, unit="ms",
                target={"scoutfs, alone": 0.5}, plot=("latency", None, "config.json beside bulk") if link else None)
