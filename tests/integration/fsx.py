#!/usr/bin/python3
"""One file's contents under random operations, against what they must be by a model in memory.

As fsx does it. Any number of handles are open on the file. sever() may end the server's sessions now
and then: after an fsync, and all must go on as if nothing had happened; or at any time (lossy), and
what may be lost is what was written since the last fsync, when somebody is told EIO.

usage: fsx.py FILE SEED SECONDS [HANDLES]        by hand
"""

import contextlib
import errno
import mmap
import os
import random
import sys
import time

LARGEST = 400_000
PAGE = mmap.ALLOCATIONGRANULARITY


class Wrong(AssertionError):
    pass


class Model:
    """What the file holds, and what it may hold after writes were lost."""

    def __init__(self):
        self.now = bytearray()
        self.synced = b""
        self.since = []  # contents after each change since the last fsync, the last one is now

    def write(self, offset, data):
        if data:
            if offset > len(self.now):
                self.now += bytes(offset - len(self.now))
            self.now[offset:offset + len(data)] = data
        self.changed()

    def truncate(self, size):
        self.now = self.now[:size] + bytes(max(0, size - len(self.now)))
        self.changed()

    def changed(self):
        self.since.append(bytes(self.now))

    def fsync(self):
        self.synced, self.since = bytes(self.now), []

    def lost(self, found, unsure):
        """Writes may have been lost, and found is there: every byte of it must have been there at
        the last fsync or after some change since; unsure: contents that a failed call may have made."""
        versions = [self.synced, *self.since, *unsure]
        sizes = {len(v) for v in versions}
        if not min(sizes) <= len(found) <= max(sizes):
            raise Wrong(f"{len(found)} bytes, not one of {sorted(sizes)}")
        for at in range(0, len(found), 64):
            piece = found[at:at + 64]
            if any(v[at:at + 64] == piece for v in versions):
                continue
            for n, byte in enumerate(piece, at):
                if byte != 0 and not any(n < len(v) and v[n] == byte for v in versions):
                    raise Wrong(f"byte {n} was never that: what was synced is lost")
        self.now = bytearray(found)
        self.fsync()


class Fsx:
    def __init__(self, path, seed, handles=1, sever=None, lossy=False, mapped=True):
        self.path, self.seed = str(path), seed
        self.sever, self.lossy = sever, lossy
        self.rng = random.Random(seed)
        self.model = Model()
        self.fds = []
        self.done = []  # what was done, in words
        self.cuts = self.losses = 0
        self.fds = [os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644) for _ in range(handles)]
        self.weights = {"read": 12, "write": 12, "overwrite": 4, "append": 3, "truncate": 3,
                        "ftruncate": 3, "rewrite": 1, "mmap_read": 6 if mapped else 0,
                        "mmap_write": 5 if mapped else 0, "reopen": 3, "fsync": 2, "size": 4,
                        "whole": 2, "copy": 2, "cut": 0.4 if sever else 0}

    def run(self, seconds):
        """Until the time is over; how many operations. Wrong tells the seed and the last of them."""
        until = time.monotonic() + seconds
        names, sums = list(self.weights), list(self.weights.values())
        try:
            while time.monotonic() < until:
                self.step(self.rng.choices(names, sums)[0])
            if self.sever and not self.cuts:  # chance left it out
                self.step("cut")
            self.sync_all()
            while self.fds:
                os.close(self.fds.pop())
            with open(self.path, "rb") as f:
                self.expect("at the end", f.read(), bytes(self.model.now))
        except (Wrong, OSError, ValueError) as e:
            last = "\n".join(self.done[-20:])
            raise Wrong(f"seed {self.seed}, operation {len(self.done)}: {e!r}\n{last}") from e
        finally:
            for fd in self.fds:
                with contextlib.suppress(OSError):
                    os.close(fd)
            self.fds = []
        return len(self.done)

    def step(self, name):
        before = bytes(self.model.now)
        try:
            getattr(self, name)()
        except OSError as e:
            self.failed(e, before)

    def failed(self, e, before):
        """A write is lost that was not synced, and we are told: begins anew with what is there."""
        if not self.lossy or e.errno != errno.EIO:
            raise e
        self.say("EIO")
        self.losses += 1
        for n, fd in enumerate(self.fds):
            self.fds[n] = -1
            self.close(fd)
            self.fds[n] = os.open(self.path, os.O_RDWR)
        with open(self.path, "rb") as f:
            self.model.lost(f.read(), [before])

    def close(self, fd):
        try:
            os.close(fd)
        except OSError as e:
            if not self.lossy or e.errno != errno.EIO:
                raise

    def say(self, *words):
        self.done.append(" ".join(map(str, words)))

    def expect(self, what, got, wanted):
        if got == wanted:
            return
        at = next((n for n, (a, b) in enumerate(zip(got, wanted)) if a != b),
                  min(len(got), len(wanted)))
        raise Wrong(f"{what}: {len(got)} bytes instead of {len(wanted)}, from {at} on "
                    f"{got[at:at + 16].hex()} instead of {wanted[at:at + 16].hex()}")

    def fd(self):
        n = self.rng.randrange(len(self.fds))
        return n, self.fds[n]

    def spot(self, inside):
        """(offset, size), of what is there or wherever."""
        rng = self.rng
        end = len(self.model.now) if inside else LARGEST
        offset = rng.randrange(end + 1)
        if rng.random() < 0.2:
            offset -= offset % PAGE
        most = rng.choice([10, PAGE, 20_000, LARGEST])
        return offset, rng.randrange(1, min(most, max(2, LARGEST - offset)))

    def data(self, size):
        return self.rng.randbytes(size)

    # what is done

    def read(self):
        n, fd = self.fd()
        offset, size = self.spot(inside=self.rng.random() < 0.9)
        self.say("pread", n, offset, size)
        self.expect("read", os.pread(fd, size, offset), bytes(self.model.now[offset:offset + size]))

    def write(self, inside=False):
        n, fd = self.fd()
        offset, size = self.spot(inside)
        self.put(n, fd, offset, self.data(size))

    def overwrite(self):
        self.write(inside=True)

    def put(self, n, fd, offset, data):
        self.say("pwrite", n, offset, len(data))
        self.model.write(offset, data)
        if os.pwrite(fd, data, offset) != len(data):
            raise Wrong("a short write")

    def append(self):
        data = self.data(self.rng.randrange(1, 5000))
        if len(self.model.now) + len(data) > LARGEST:
            return
        self.say("append", len(data))
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            self.model.write(len(self.model.now), data)
            os.write(fd, data)
        finally:
            os.close(fd)

    def truncate(self):
        size = self.rng.randrange(LARGEST)
        self.say("truncate", size)
        self.model.truncate(size)
        os.truncate(self.path, size)

    def ftruncate(self):
        n, fd = self.fd()
        size = self.rng.randrange(LARGEST)
        self.say("ftruncate", n, size)
        self.model.truncate(size)
        os.ftruncate(fd, size)

    def rewrite(self):
        data = self.data(self.rng.randrange(LARGEST))
        self.say("rewrite", len(data))
        fd = os.open(self.path, os.O_WRONLY | os.O_TRUNC)
        try:
            self.model.truncate(0)
            self.model.write(0, data)
            os.pwrite(fd, data, 0)
        finally:
            os.close(fd)

    def mapping(self):
        if not self.model.now:
            return None
        offset = self.rng.randrange(len(self.model.now)) // PAGE * PAGE
        return offset, self.rng.randrange(1, min(50_000, len(self.model.now) - offset) + 1)

    def mmap_read(self):
        if (spot := self.mapping()) is None:
            return
        (n, fd), (offset, size) = self.fd(), spot
        self.say("mmap read", n, offset, size)
        with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset) as m:
            self.expect("mapped", m[:], bytes(self.model.now[offset:offset + size]))

    def mmap_write(self):
        if (spot := self.mapping()) is None:
            return
        (n, fd), (offset, size) = self.fd(), spot
        data = self.data(size)
        self.say("mmap write", n, offset, size)
        self.model.write(offset, data)
        with mmap.mmap(fd, size, mmap.MAP_SHARED, offset=offset) as m:
            m[:] = data
            m.flush()

    def reopen(self):
        n, fd = self.fd()
        self.say("reopen", n)
        self.fds[n] = os.open(self.path, os.O_RDWR)
        os.close(fd)

    def fsync(self):
        n, fd = self.fd()
        self.say("fsync", n)
        os.fsync(fd)
        if len(self.fds) == 1:  # of this handle's writes it speaks, of others' it does not
            self.model.fsync()

    def size(self):
        n, fd = self.fd()
        self.say("size", n)
        for size in (os.fstat(fd).st_size, os.stat(self.path).st_size):
            if size != len(self.model.now):
                raise Wrong(f"size {size} instead of {len(self.model.now)}")

    def whole(self):
        self.say("whole")
        with open(self.path, "rb") as f:
            self.expect("whole", f.read(), bytes(self.model.now))

    def copy(self):
        (n, fd), (m, other) = self.fd(), self.fd()
        offset, size = self.spot(inside=True)
        sink = self.rng.randrange(LARGEST)
        size = min(size, len(self.model.now) - offset, LARGEST - sink)
        if size <= 0 or abs(sink - offset) < size:
            return
        self.say("copy_file_range", n, m, offset, sink, size)
        self.model.write(sink, bytes(self.model.now[offset:offset + size]))
        done = 0
        while done < size:
            got = os.copy_file_range(fd, other, size - done, offset + done, sink + done)
            if got == 0:
                raise Wrong("copy_file_range ended early")
            done += got

    def cut(self):
        """What can be lost is: asked at once, every handle must say so or have it all."""
        self.say("cut")
        if not self.lossy:
            self.sync_all()
        self.cuts += 1
        self.sever()
        self.sync_all()

    def sync_all(self):
        """Also when one says EIO the others are asked."""
        said = None
        for fd in self.fds:
            try:
                os.fsync(fd)
            except OSError as e:
                said = said or e
        if said:
            raise said
        self.model.fsync()


def main():
    path, seed, seconds = sys.argv[1:4]
    handles = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    print(Fsx(path, int(seed), handles).run(float(seconds)), "operations")


if __name__ == "__main__":
    main()
