"""A host whose SSH is real and whose SFTP is a script of ours, byte by byte.

It serves a small tree from memory and tells the truth, until a lie is told to it: a function that is
asked for each request and may put anything else in the place of the honest answer.
"""

import asyncio
import stat
import struct

from asyncssh_server import AsyncSsh, asyncssh

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = range(6)
OP_UNSUPPORTED = 8
VERSION, STATUS, HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 2, 101, 102, 103, 104, 105, 201
KINDS = {1: "init", 3: "open", 4: "close", 5: "read", 6: "write", 7: "lstat", 8: "fstat",
         9: "setstat", 10: "fsetstat", 11: "opendir", 12: "readdir", 13: "remove", 14: "mkdir",
         15: "rmdir", 16: "realpath", 17: "stat", 18: "rename", 19: "readlink", 20: "symlink",
         200: "extended"}
BY_HANDLE = ("close", "read", "write", "fstat", "fsetstat", "readdir", "fsync@openssh.com")
EXTENSIONS = {"statvfs@openssh.com": "2"}  # and 1 for all others
CREAT, TRUNC = 8, 16
INIT_BYTES = 9


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def string(data):
    data = data.encode() if isinstance(data, str) else data
    return u32(len(data)) + data


def packet(kind, body):
    return u32(len(body) + 1) + bytes([kind]) + body


def status(id, code, words="told by the test"):
    return packet(STATUS, u32(id) + u32(code) + string(words) + string(""))


def data(id, some):
    return packet(DATA, u32(id) + string(some))


def attrs(size, mode, mtime=1_400_000_000):
    return u32(1 | 4 | 8) + u64(size) + u32(mode) + u32(mtime) + u32(mtime)


def names(id, entries):
    """entries: (name, attributes) each."""
    body = b"".join(string(name) + string("") + attr for name, attr in entries)
    return packet(NAME, u32(id) + u32(len(entries)) + body)


class Request:
    def __init__(self, kind, body):
        self.kind = KINDS.get(kind, "unknown")
        self.body = body
        self.id = struct.unpack(">I", body[:4])[0]
        self.path = self.handle = None
        self.rest = body[4:]
        if self.kind == "extended":
            self.kind = self.take().decode()
        if self.kind not in ("init", "unknown", "limits@openssh.com"):
            first = self.take()
            if self.kind in BY_HANDLE:
                self.handle = first
            else:
                self.path = first.decode()

    def take(self, form="string"):
        """The next field of the body: a string, or what struct calls it."""
        if form != "string":
            size = struct.calcsize(form)
            value, = struct.unpack(form, self.rest[:size])
            self.rest = self.rest[size:]
            return value
        size = self.take(">I")
        value, self.rest = self.rest[:size], self.rest[size:]
        return value


class Hostile(AsyncSsh):
    """tree: {path: bytes, None for a folder, a str for a link's target}. lie(request, answer) gives
    None to be honest, or what to do instead: bytes to send, seconds to wait, Stderr, HANG_UP."""

    HANG_UP = object()

    class Stderr(bytes):
        """Sent beside the SFTP stream."""

    def __init__(self, folder, name, client_key, tree=None, lie=None, extensions=(), version=None):
        super().__init__(folder, name, client_key)
        self.files = "/"
        self.tree = {"/": None, **(tree or {})}
        self.lie = lie or (lambda request, answer: None)
        self.extensions = extensions  # what it offers
        self.version = version  # of SSH, if not asyncssh's own
        self.hasty = None       # a number: who sends more than INIT at first is hung up on, and counted
        self.requests = []  # (kind, path), as they came
        self.sessions = 0   # so many were ever started

    def serving(self):
        host = self

        class Server(asyncssh.SSHServer):
            def session_requested(self):
                return Session(host)

        more = {"server_version": self.version} if self.version else {}
        return {"server_factory": Server, "encoding": None, **more}


class Session(asyncssh.SSHServerSession):
    def __init__(self, host):
        self.host = host
        self.handles = {}  # handle: (path, entries not yet listed)
        self.opened = 0
        self.greeted = False
        self.reader = asyncio.StreamReader()
        self.room = asyncio.Event()
        self.room.set()

    def connection_made(self, chan):
        self.channel = chan

    def subsystem_requested(self, subsystem):
        return subsystem == "sftp"

    def session_started(self):
        self.host.sessions += 1
        self.task = asyncio.ensure_future(self.work())

    def data_received(self, data, datatype):
        if self.host.hasty is not None and not self.greeted and len(data) > INIT_BYTES:
            self.host.hasty += 1
            self.channel.abort()
            return
        self.greeted = True
        self.reader.feed_data(data)

    def connection_lost(self, exc):
        self.task.cancel()

    def pause_writing(self):
        self.room.clear()

    def resume_writing(self):
        self.room.set()

    async def work(self):
        try:
            await self.serve()
        finally:
            self.channel.abort()

    async def serve(self):
        while True:
            size, kind = struct.unpack(">IB", await self.reader.readexactly(5))
            request = Request(kind, await self.reader.readexactly(size - 1))
            if request.handle is not None:
                request.path = self.handles.get(request.handle, (None,))[0]
            self.host.requests.append((request.kind, request.path))
            answer = self.answer(request)
            lie = self.host.lie(request, answer)
            for part in [answer] if lie is None else lie:
                if part is Hostile.HANG_UP:
                    return
                if isinstance(part, bytes):
                    self.channel.write(part, asyncssh.EXTENDED_DATA_STDERR
                                       if isinstance(part, Hostile.Stderr) else None)
                    await self.room.wait()
                else:
                    await asyncio.sleep(part)

    def answer(self, r):
        """The honest one, whose effect takes place also when a lie is told."""
        if r.kind == "init":
            return packet(VERSION, u32(3) + b"".join(
                string(name) + string(EXTENSIONS.get(name, "1")) for name in self.host.extensions))
        if r.kind == "limits@openssh.com":
            return packet(EXTENDED_REPLY, u32(r.id) + u64(0) * 4)
        path = r.path if r.path is None or r.path == "/" else r.path.rstrip("/")
        if path is None:
            return status(r.id, FAILURE)
        if r.kind == "open" and r.take(">I") & CREAT:
            self.host.tree.setdefault(path, b"")
        if path not in self.host.tree and r.kind not in ("mkdir", "symlink"):
            return status(r.id, NO_SUCH_FILE)
        name = "do_" + r.kind.partition("@")[0].replace("-", "_")
        return getattr(self, name, lambda *_: status(r.id, OP_UNSUPPORTED))(r, path)

    def attrs(self, path):
        held = self.host.tree[path]
        if held is None:
            return attrs(4096, stat.S_IFDIR | 0o755)
        if isinstance(held, str):
            return attrs(len(held), stat.S_IFLNK | 0o777)
        return attrs(len(held), stat.S_IFREG | 0o644)

    def new_handle(self, r, path, entries=()):
        self.opened += 1
        handle = b"h%d" % self.opened
        self.handles[handle] = (path, list(entries))
        return packet(HANDLE, u32(r.id) + string(handle))

    def do_lstat(self, r, path):
        return packet(ATTRS, u32(r.id) + self.attrs(path))

    do_stat = do_fstat = do_lstat

    def do_open(self, r, path):
        return self.new_handle(r, path)

    def do_opendir(self, r, path):
        below = path.rstrip("/") + "/"
        return self.new_handle(r, path, [
            (name[len(below):], self.attrs(name)) for name in self.host.tree
            if name.startswith(below) and name != below and "/" not in name[len(below):]])

    def do_readdir(self, r, path):
        entries = self.handles[r.handle][1]
        now, entries[:] = entries[:100], entries[100:]
        return names(r.id, now) if now else status(r.id, EOF)

    def do_read(self, r, path):
        r.offset, length = r.take(">Q"), r.take(">I")
        some = self.host.tree[path][r.offset:r.offset + min(length, 256 * 1024)]
        return data(r.id, some) if some else status(r.id, EOF)

    def do_write(self, r, path):
        offset, some = r.take(">Q"), r.take()
        held = self.host.tree[path].ljust(offset, b"\0")
        self.host.tree[path] = held[:offset] + some + held[offset + len(some):]
        return status(r.id, OK)

    def do_close(self, r, path):
        del self.handles[r.handle]
        return status(r.id, OK)

    def do_setstat(self, r, path):
        if r.take(">I") & 1:
            size = r.take(">Q")
            self.host.tree[path] = self.host.tree[path][:size].ljust(size, b"\0")
        return status(r.id, OK)

    do_fsetstat = do_setstat

    def do_remove(self, r, path):
        del self.host.tree[path]
        return status(r.id, OK)

    do_rmdir = do_remove

    def do_mkdir(self, r, path):
        if path in self.host.tree:
            return status(r.id, FAILURE)
        self.host.tree[path] = None
        return status(r.id, OK)

    def do_rename(self, r, path):
        target = r.take().decode()
        if target in self.host.tree:
            return status(r.id, FAILURE)
        self.host.tree[target] = self.host.tree.pop(path)
        return status(r.id, OK)

    def do_posix_rename(self, r, path):
        self.host.tree[r.take().decode()] = self.host.tree.pop(path)
        return status(r.id, OK)

    def do_hardlink(self, r, path):
        self.host.tree[r.take().decode()] = self.host.tree[path]
        return status(r.id, OK)

    def do_symlink(self, r, path):
        """In OpenSSH's order: first what it leads to."""
        self.host.tree[r.take().decode()] = path
        return status(r.id, OK)

    def do_fsync(self, r, path):
        return status(r.id, OK)

    def do_statvfs(self, r, path):
        return packet(EXTENDED_REPLY, u32(r.id) + b"".join(
            u64(n) for n in (4096, 4096, 1000, 500, 500, 1000, 500, 500, 1, 0, 255)))

    def do_readlink(self, r, path):
        return names(r.id, [(self.host.tree[path], u32(0))])

    def do_realpath(self, r, path):
        return names(r.id, [(path, u32(0))])
