"""The disk cache of the registry: what is read from there, by whom, and what never is."""

import os
import stat
import subprocess

from mount import clean_env, command
from procs import wait_for
from proxy import Answer
from test_models_engine import NO_HOSTS, start
from test_models_meta import flipped
from test_models_reading import asked
from tools import MIB, Background, content, error, read, sha256, together

BLOCK = 256 << 10
HEAD = 4096  # of a segment's file
MODEL = "a/v1/model.zip"
SIZE = 5 * MIB + 1000
BLOCKS = 21


def cached(mount, rgw, bucket, s3, cache, **more):
    return mount(NO_HOSTS, rgw.ini(bucket, s3.port, cache_dir=cache, **more))


def wait_written(m, blocks):
    wait_for(lambda: m.metric("scoutfs_cache_written_total") >= blocks, 30, "the cache")


def segments(cache):
    """The paths of its files, but for the lock."""
    return [os.path.join(cache, name) for name in sorted(os.listdir(cache)) if "." in name]


def used(cache):
    return sum(os.stat(os.path.join(cache, name)).st_blocks * 512 for name in os.listdir(cache))


def crash(m):
    m.expect_crash = True
    m.abort()
    assert m.ended_within(20)
    subprocess.run(["fusermount3", "-uz", m.point], check=True)


def test_it_survives_a_remount(rgw, bucket, mount, http_proxy, folder):
    """Whole, and parts; for nobody else's eyes; without a byte from S3."""
    data, cache = content(SIZE), os.path.join(folder, "cache")
    rgw.put(bucket, MODEL, data)
    rgw.put(bucket, "b/v1/model.zip", data[::-1])
    s3 = http_proxy(rgw.port)
    m = cached(mount, rgw, bucket, s3, cache)
    assert read(m.model(MODEL)) == data
    with open(m.model("b", "v1", "model.zip"), "rb", buffering=0) as f:
        f.seek(3 * MIB)
        assert f.read(MIB) + f.read(MIB // 2) == data[::-1][3 * MIB:][:MIB + MIB // 2]
    wait_written(m, BLOCKS + 6)
    assert f"  disk cache   {cache}: " in m.status()
    m.unmount()
    assert stat.S_IMODE(os.stat(cache).st_mode) == 0o700
    assert len(segments(cache)) == 2
    for path in segments(cache):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600

    s3.reset_counts()
    m = cached(mount, rgw, bucket, s3, cache)
    assert read(m.model(MODEL)) == data
    assert s3.gets("model.zip") == []
    assert m.metric("scoutfs_cache_hits_total") == BLOCKS
    # of the other one, what is missing
    assert read(m.model("b", "v1", "model.zip")) == data[::-1]
    more = m.metric("scoutfs_cache_hits_total") - BLOCKS
    assert SIZE - more * BLOCK <= asked(s3, "b/") <= SIZE - 6 * BLOCK


def test_a_crash_in_mid_read(rgw, bucket, mount, http_proxy, folder):
    """What was there is used, and what is torn is not."""
    data, cache = content(20 * MIB), os.path.join(folder, "cache")
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, lambda r: Answer(hold_after=0) if r.range and start(r) >= 4 * MIB
                    else None)
    m = cached(mount, rgw, bucket, s3, cache)
    reader = Background([lambda: error(read, m.model(MODEL))])
    wait_written(m, 16)
    crash(m)
    assert reader.results() != ["ok"]
    s3.fault = lambda request: None
    s3.release()
    # a page of the third block never came to the disk
    with open(segments(cache)[0], "r+b") as f:
        f.seek(HEAD + 2 * BLOCK + 40960)
        f.write(bytes(4096))
    s3.reset_counts()
    m = cached(mount, rgw, bucket, s3, cache)
    assert sha256(read(m.model(MODEL))) == sha256(data)
    assert m.metric("scoutfs_cache_bad_blocks_total") == 1
    assert m.metric("scoutfs_cache_hits_total") >= 12
    assert asked(s3) <= 20 * MIB - 12 * BLOCK


def test_two_mounts_share_it(rgw, bucket, mount, http_proxy, folder):
    data, cache = [content(SIZE, n) for n in range(3)], os.path.join(folder, "cache")
    for number, one in enumerate(data):
        rgw.put(bucket, f"m/{number}/model.zip", one)
    s3 = http_proxy(rgw.port)
    a, b = (cached(mount, rgw, bucket, s3, cache) for _ in range(2))
    assert read(a.model("m", "0", "model.zip")) == data[0]
    wait_written(a, BLOCKS)
    s3.reset_counts()
    assert read(b.model("m", "0", "model.zip")) == data[0]
    assert s3.gets("model.zip") == []
    # both at once, and what either of them wrote is good for who comes then
    got = together([lambda m=m, n=n: read(m.model("m", str(n), "model.zip"))
                    for n in (1, 2) for m in (a, b)])
    assert got == [data[1], data[1], data[2], data[2]]
    a.unmount()
    b.unmount()
    c = cached(mount, rgw, bucket, s3, cache)
    assert read(c.model("m", "1", "model.zip")) == data[1]
    assert read(c.model("m", "2", "model.zip")) == data[2]
    assert c.metric("scoutfs_cache_bad_blocks_total") == 0
    assert c.metric("scoutfs_cache_hits_total") > 0


def test_a_full_disk(rgw, bucket, mount, http_proxy, small_disk):
    """It is off with one line in the log, reads go on, and what is there is served; the next mount begins anew."""
    data, cache = content(SIZE), os.path.join(small_disk, "cache")
    rgw.put(bucket, MODEL, data)
    rgw.put(bucket, "b/v1/model.zip", data[::-1])
    s3 = http_proxy(rgw.port)
    kept = 0
    for _ in range(2):
        m = cached(mount, rgw, bucket, s3, cache)
        assert read(m.model(MODEL)) == data
        assert read(m.model("b", "v1", "model.zip")) == data[::-1]
        wait_for(lambda m=m: m.metric("scoutfs_cache_on") == 0, 20, "the cache is off")
        assert f"  disk cache   {cache}: off for writing: No space left on device" in m.status()
        lines = [line for line in m.log().splitlines() if "cache_dir" in line]
        assert len(lines) == 1 and "No space left on device" in lines[0], lines
        assert m.metric("scoutfs_cache_hits_total") >= kept
        assert m.metric("scoutfs_cache_evictions_total") == 0
        assert m.metric("scoutfs_cache_bad_blocks_total") == 0
        kept = kept or m.metric("scoutfs_cache_written_total")
        assert kept > 0
        m.unmount()


def test_an_overwritten_object(rgw, bucket, mount, http_proxy, folder):
    """New bytes for new readers, here and after a remount."""
    old, new, cache = content(SIZE), content(SIZE, 1), os.path.join(folder, "cache")
    rgw.put(bucket, MODEL, old)
    s3 = http_proxy(rgw.port)
    m = cached(mount, rgw, bucket, s3, cache)
    assert read(m.model(MODEL)) == old
    rgw.put(bucket, MODEL, new)
    assert read(m.model(MODEL)) == new
    wait_written(m, 2 * BLOCKS)
    m.unmount()
    s3.reset_counts()
    m = cached(mount, rgw, bucket, s3, cache)
    assert read(m.model(MODEL)) == new
    assert s3.gets("model.zip") == []


def test_wrong_bytes_do_not_stay(rgw, bucket, mount, http_proxy, folder):
    """What does not match its checksum is not kept; what comes from the disk is compared, too."""
    data, cache = content(SIZE), os.path.join(folder, "cache")
    rgw.put(bucket, MODEL, data)
    s3 = http_proxy(rgw.port, flipped(3 * MIB + 7, times=100))
    m = cached(mount, rgw, bucket, s3, cache, verify="no")
    assert read(m.model(MODEL)) != data
    wait_written(m, BLOCKS)
    m.unmount()
    s3.fault = lambda request: None
    s3.reset_counts()
    m = cached(mount, rgw, bucket, s3, cache)
    assert error(read, m.model(MODEL)) == "EIO"
    assert s3.gets("model.zip") == []
    assert read(m.model(MODEL)) == data
    assert asked(s3) == SIZE
    wait_written(m, BLOCKS)
    m.unmount()
    s3.reset_counts()
    m = cached(mount, rgw, bucket, s3, cache)
    assert read(m.model(MODEL)) == data
    assert s3.gets("model.zip") == []


def test_it_stays_within_its_size(rgw, bucket, mount, http_proxy, folder):
    """What was used longest ago goes."""
    cache, limit, last, size = os.path.join(folder, "cache"), 64 * MIB, 4, 15 * MIB
    for number in range(last + 1):
        rgw.put(bucket, f"m/{number}/model.zip", content(size, number))
    s3 = http_proxy(rgw.port)
    m = cached(mount, rgw, bucket, s3, cache, cache_size="64M")
    for number in range(last + 1):
        assert read(m.model("m", str(number), "model.zip")) == content(size, number)
        wait_written(m, (number + 1) * size // BLOCK)
        assert used(cache) <= limit
    assert m.metric("scoutfs_cache_evictions_total") > 0
    assert used(cache) > limit // 2
    m.unmount()
    for name in os.listdir(cache):  # also those by which mounts know of each other
        assert stat.S_IMODE(os.stat(os.path.join(cache, name)).st_mode) == 0o600, name
    s3.reset_counts()
    m = cached(mount, rgw, bucket, s3, cache, cache_size="64M")
    assert read(m.model("m", str(last), "model.zip")) == content(size, last)
    assert s3.gets("model.zip") == []
    assert read(m.model("m", "0", "model.zip")) == content(size, 0)
    assert asked(s3, "m/0/") == size


def test_a_folder_that_cannot_be_it(rgw, bucket, mount, folder):
    """Told at the start and by --check, and nothing is mounted."""
    cache = os.path.join(folder, "cache")
    os.mkdir(cache)
    os.chmod(cache, 0o777)
    m = mount(NO_HOSTS, rgw.ini(bucket, cache_dir=cache), run=False)
    for args in (("--check", m.ini_path), (m.ini_path, m.point, "-f")):
        done = subprocess.run(command(*args), env=clean_env(folder), text=True, timeout=60,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 2, done.stderr
        assert f"cache_dir {cache}: others may write into it" in done.stderr
    os.symlink(m.point, os.path.join(folder, "link"))
    for inside in (os.path.join(m.point, "cache"), os.path.join(folder, "link", "cache"),
                   f"{folder}//cache/../{os.path.relpath(m.point, folder)}"):
        m.write_ini(NO_HOSTS + rgw.ini(bucket, cache_dir=inside))
        done = subprocess.run(command(m.ini_path, m.point, "-f"), env=clean_env(folder), text=True,
                              timeout=60, stdin=subprocess.DEVNULL, capture_output=True,
                              check=False)
        assert done.returncode == 1 and "it lies in the mount itself" in done.stderr, done.stderr
