"""A TCP proxy that behaves as a bad network does, and counts what passes.

Runs on a thread of its own; the knobs may be turned at any time and hold from then on.
"""

import asyncio
import collections
import os
import socket
import struct
import sys
import threading
import time

BLOCK = 256 * 1024
IN_FLIGHT = 64 << 20  # bytes that one direction of a slow link may hold


class Proxy:
    def __init__(self, target_port):
        self.target_port = target_port
        self.rtt = 0.0            # seconds, half of it each way
        self.bytes_per_s = 0      # of a connection, each way; 0: no limit
        self.refuse = False       # new connections are reset
        self.black_hole = False   # new connections are accepted, and nothing ever comes
        self.holds = IN_FLIGHT    # bytes of one direction that it takes before it sends them on
        self.cut_after = None     # a connection ends (RST) after so many bytes of the server's
        self.connections = self.most = self.total = 0
        self.bytes_up = self.bytes_down = 0
        self.carried_up = collections.Counter()  # bytes_up of each connection, by its descriptor
        self.round_trips = 0      # answers that waited for one another, on all connections
        self._asked = 0           # the round trip that the server has heard of
        self._flow = None         # cleared: bytes stay where they are
        self._tasks = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._thread.start()
        self._ready.wait(10)
        return self

    def _call(self, function, *args):
        """function(*args) on the proxy's thread; its result."""
        async def call():
            return function(*args)
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def stop(self):
        if self._thread.is_alive():
            self._call(self._end.set)
            self._thread.join(10)

    def stall(self):
        self._call(self._flow.clear)

    def resume(self):
        self._call(self._flow.set)

    def narrow(self):
        """New connections are lines without room: what does not fit waits at the sender, not here."""
        self.holds = 0
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)

    def cut(self):
        """Resets every connection there is now."""
        def cut():
            for task in list(self._tasks):
                task.cancel()
        self._call(cut)

    def hang_up(self):
        """Ends every connection there is now as a server that closes: FIN."""
        self._call(lambda: [task.cancel("FIN") for task in list(self._tasks)])

    def close_listener(self):
        """The port is closed from now on; connections stay."""
        self._call(lambda: (self._loop.remove_reader(self._listener), self._accepting.cancel(),
                            self._listener.close()))

    def reset_counts(self):
        self.most, self.total = self.connections, 0
        self.bytes_up = self.bytes_down = 0
        self.carried_up.clear()
        self.round_trips = self._asked = 0

    # the proxy's thread

    def _run(self):
        asyncio.run(self._main())

    async def _main(self):
        self._loop = asyncio.get_running_loop()
        self._flow = asyncio.Event()
        self._flow.set()
        self._end = asyncio.Event()
        self._accepting = asyncio.create_task(self._accept())
        self._ready.set()
        await self._end.wait()
        tasks = [self._accepting, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self):
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.total += 1
            if self.refuse:
                self._reset(client)
                continue
            task = asyncio.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    def _reset(*sockets):
        """Closes them so that their peers see RST, whatever is still on its way."""
        for s in sockets:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()

    async def _serve(self, client):
        self.connections += 1
        self.most = max(self.most, self.connections)
        server = socket.socket()
        server.setblocking(False)
        try:
            if self.black_hole:
                while await self._loop.sock_recv(client, BLOCK):
                    pass
                return
            await self._loop.sock_connect(server, ("127.0.0.1", self.target_port))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._exchange(client, server)
        except asyncio.CancelledError as e:
            if e.args != ("FIN",):
                self._reset(client, server)
                return
            client.shutdown(socket.SHUT_WR)
            while await self._loop.sock_recv(client, BLOCK):
                pass
        except OSError:
            self._reset(client, server)
        finally:
            self.connections -= 1
            client.close()
            server.close()

    async def _exchange(self, client, server):
        """Both directions, until one of them ends with an error or both have ended."""
        pumps = [asyncio.create_task(self._pump(client, server, up=True)),
                 asyncio.create_task(self._pump(server, client, up=False))]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, source, sink, up):
        queue = asyncio.Queue()
        room = asyncio.Event()
        room.set()
        held = [0]
        sender = asyncio.create_task(self._send(queue, sink, up, held, room))
        try:
            free_at = 0.0
            while True:
                # a slow link brings its bytes one by one, not all of a block at its end
                most = min(BLOCK, max(1024, int(self.bytes_per_s / 10))) if self.bytes_per_s \
                    else BLOCK
                data = await self._loop.sock_recv(source, most)
                now = self._loop.time()
                if self.bytes_per_s:
                    free_at = max(free_at, now) + len(data) / self.bytes_per_s
                    now = free_at
                # What is asked after an answer came may depend on it: one round trip more. Without
                # an rtt that exceeds the thinking between them, independent ones count too.
                trip = self.round_trips + 1 if up else self._asked
                queue.put_nowait((now + self.rtt / 2, data, trip))
                held[0] += len(data)
                if not data:
                    await sender
                    return
                if held[0] > self.holds:
                    room.clear()
                    await room.wait()
                if sender.done():
                    sender.result()
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, queue, sink, up, held, room):
        passed = 0
        while True:
            due, data, trip = await queue.get()
            wait = due - self._loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            await self._flow.wait()
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            if not up and self.cut_after is not None and passed + len(data) >= self.cut_after:
                await self._loop.sock_sendall(sink, data[:self.cut_after - passed])
                raise ConnectionResetError
            await self._loop.sock_sendall(sink, data)
            passed += len(data)
            if up:
                self.bytes_up += len(data)
                self.carried_up[sink.fileno()] += len(data)
                self._asked = max(self._asked, trip)
            else:
                self.bytes_down += len(data)
                self.round_trips = max(self.round_trips, trip)
            held[0] -= len(data)
            room.set()


class Answer:
    """What HttpProxy does with one request instead of passing it on untouched."""

    def __init__(self, status=None, code=None, headers=None, cut_after=None, reset=True,
                 corrupt=False, stall=False, hold_after=None, bytes_per_s=0, chunked=False,
                 lose=False, flip=None):
        self.status = status        # answer this ourselves…
        self.code = code            # …with S3's XML of an error, or else without a body…
        self.headers = headers or {}  # …and with these, which also join one that is passed on
        self.cut_after = cut_after  # end the connection after so many bytes of the body…
        self.reset = reset          # …by RST, or else politely by FIN
        self.corrupt = corrupt      # close it in mid-header
        self.stall = stall          # never answer
        self.hold_after = hold_after    # after so many bytes of the body, wait for release()
        self.bytes_per_s = bytes_per_s  # of the body, of this answer alone
        self.lose = lose            # pass it on, and lose the answer
        self.chunked = chunked          # send it in chunks, without a length
        self.flip = flip            # the byte of the body that comes wrong

    def error(self, request):
        """Our own answer's bytes."""
        body = ""
        if self.code and request.method != "HEAD":
            body = ('<?xml version="1.0" encoding="UTF-8"?>\n'
                    f"<Error><Code>{self.code}</Code><Message>{self.code}</Message>"
                    f"<Region>{self.headers.get('x-amz-bucket-region', '')}</Region></Error>")
        head = [f"HTTP/1.1 {self.status} No", "Content-Type: application/xml",
                f"Content-Length: {len(body)}",
                *(f"{name}: {value}" for name, value in self.headers.items())]
        return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


class Request:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, version = lines[0].split(" ", 2)
        if self.target.startswith("http://"):  # as a forward proxy is asked
            self.target = "/" + self.target.split("/", 3)[3]
        self.head = "\r\n".join([f"{self.method} {self.target} {version}", *lines[1:]])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.path = self.target.partition("?")[0]
        self.query = self.target.partition("?")[2]
        self.range = self.headers.get("range")
        self.call = self.headers.get("amz-sdk-invocation-id")  # all its attempts have the same
        self.at = time.monotonic()  # when it was here
        self.status = None
        self.body_bytes = 0  # of the answer, passed on
        self.sent_bytes = 0  # of its own body
        self.ended = False   # answered, or given up

    def got(self):
        """The bytes of the object that its answer brought: first, and one past the last."""
        begin = int(self.range.partition("=")[2].partition("-")[0]) if self.range else 0
        return begin, begin + self.body_bytes

    def __repr__(self):
        words = f"{self.method} {self.target} {self.range or 'whole'}"
        return f"{words} status {self.status} bytes {self.body_bytes}"


class HttpProxy(Proxy):
    """Understands the requests: counts them by key and range, and answers some in its own way.

    A hedge (another request of a call that still waits for its last) is no one's fault on a machine
    that stands still for a second: it is in hedges, not in requests.

    fault(request) is asked for each, on the proxy's thread, and returns an Answer or None. rtt,
    bytes_per_s, cut_after, stall are the plain proxy's: put one behind for these.
    """

    def __init__(self, target_port, fault=None, log=None):
        super().__init__(target_port)
        self.fault = fault or (lambda request: None)
        self.log = log  # a file that gets a line for each answer passed on
        self.requests, self.hedges = [], []
        self.held = 0   # answers that wait for release() now
        self._released = None

    def reset_counts(self):
        super().reset_counts()
        self.requests, self.hedges = [], []

    def release(self):
        """Lets all go on that is held now."""
        def release():
            self._released.set()
            self._released = asyncio.Event()
            self.held = 0
        self._call(release)

    async def _main(self):
        self._released = asyncio.Event()
        await super()._main()

    async def _hold(self, client):
        """Until release(), or until the client has gone."""
        event = self._released
        released = asyncio.create_task(event.wait())
        gone = asyncio.create_task(self._loop.sock_recv(client, 1))
        self.held += 1
        try:
            await asyncio.wait([released, gone], return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise ConnectionResetError
        finally:
            if not event.is_set():
                self.held -= 1
            for task in (released, gone):
                task.cancel()
            await asyncio.gather(released, gone, return_exceptions=True)

    def gets(self, key=None):
        """GETs of an object (whose path ends with key), not listings."""
        return [r for r in self.requests if r.method == "GET" and "list-type" not in r.query
                and "uploads" not in r.query and (key is None or r.path.endswith(key))]

    def sent(self, method, word=""):
        """Requests that change something, whose query holds word."""
        return [r for r in self.requests if r.method == method and word in r.query]

    def lists(self):
        return [r for r in self.requests if r.method == "GET" and "list-type" in r.query]

    def body_bytes(self, key=None):
        """What answers to gets(key) brought; what hedges brought besides counts once."""
        total = 0
        for request in self.gets(key):
            end = request.got()[0]
            twins = [r for r in self.hedges if r.call == request.call] if request.call else []
            for begin, stop in sorted(r.got() for r in (request, *twins)):
                total += max(0, stop - max(begin, end))
                end = max(end, stop)
        return total

    def _note(self, request):
        running = any(r.call == request.call and not r.ended
                      for r in (*self.requests, *self.hedges))
        (self.hedges if request.call and running else self.requests).append(request)

    async def _exchange(self, client, server):
        pending = {client: b"", server: b""}
        while True:
            head = await self._head(client, pending)
            if head is None:
                return
            request = Request(head)
            self._note(request)
            try:
                if not await self._answer(request, client, server, pending):
                    return
            finally:
                request.ended = True

    async def _answer(self, request, client, server, pending):
        """True when the connection may carry another request."""
        answer = self.fault(request) or Answer()
        if answer.stall:
            while await self._loop.sock_recv(client, BLOCK):
                pass
            return False
        if answer.status:
            request.status = answer.status
            await self._pass_body(request, client, None, pending)
            await self._loop.sock_sendall(client, answer.error(request))
            return True
        await self._loop.sock_sendall(server, request.head.encode("latin-1") + b"\r\n\r\n")
        self.bytes_up += len(request.head) + 4
        await self._pass_body(request, client, server, pending)
        try:
            return await self._pass_answer(request, answer, client, server, pending)
        finally:
            if self.log:
                self.log.write(f"{request}\n")

    async def _pass_body(self, request, client, server, pending):
        """What the request brings; server None: nobody gets it."""
        left = int(request.headers.get("content-length", 0))
        while left > 0:
            data = pending[client][:left]
            pending[client] = pending[client][left:]
            if not data:
                data = await self._loop.sock_recv(client, min(left, BLOCK))
                if not data:
                    raise ConnectionResetError
            await self._flow.wait()
            if server:
                await self._loop.sock_sendall(server, data)
            left -= len(data)
            request.sent_bytes += len(data)
            self.bytes_up += len(data)

    async def _head(self, source, pending):
        data = pending[source]
        while b"\r\n\r\n" not in data:
            more = await self._loop.sock_recv(source, BLOCK)
            if not more:
                return None
            data += more
        head, _, pending[source] = data.partition(b"\r\n\r\n")
        return head

    async def _pass_answer(self, request, answer, client, server, pending):
        """True when the connection may carry another request."""
        head = await self._head(server, pending)
        if head is None:
            raise ConnectionResetError
        lines = head.decode("latin-1").split("\r\n")
        request.status = int(lines[0].split()[1])
        if answer.lose:
            raise ConnectionResetError
        if answer.corrupt:
            await self._loop.sock_sendall(client, b"HTTP/9.9 garbage\r\n\x00\xff:::\r\n\r\n")
            raise ConnectionResetError
        headers = {name.lower(): value.strip() for name, _, value in
                   (line.partition(":") for line in lines[1:])}
        chunked = answer.chunked and "content-range" in headers
        if chunked:
            head = "\r\n".join([line for line in lines if not line.lower().startswith(
                "content-length:")] + ["Transfer-Encoding: chunked"]).encode("latin-1")
        more = "".join(f"\r\n{name}: {value}" for name, value in answer.headers.items())
        await self._loop.sock_sendall(client, head + more.encode() + b"\r\n\r\n")
        self.bytes_down += len(head) + 4
        if request.method == "HEAD" or request.status in (204, 304):
            return True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            await self._pass_chunked(request, client, server, pending)
            return True
        left = int(headers.get("content-length", 0))
        most = min(BLOCK, max(1, answer.bytes_per_s // 10)) if answer.bytes_per_s else BLOCK
        hold = answer.hold_after
        while left > 0:
            if hold is not None and request.body_bytes >= hold:
                hold = None
                await self._hold(client)
            take = min(left, most, hold - request.body_bytes if hold is not None else most)
            data = pending[server][:take]
            pending[server] = pending[server][take:]
            if not data:
                data = await self._loop.sock_recv(server, take)
                if not data:
                    raise ConnectionResetError
            if answer.bytes_per_s:
                await asyncio.sleep(len(data) / answer.bytes_per_s)
            if answer.flip is not None and 0 <= answer.flip - request.body_bytes < len(data):
                data = bytearray(data)
                data[answer.flip - request.body_bytes] ^= 1
            if answer.cut_after is not None and request.body_bytes + len(data) > answer.cut_after:
                data = data[:answer.cut_after - request.body_bytes]
                await self._body(request, client, data, chunked)
                if answer.reset:
                    raise ConnectionResetError
                return False
            await self._body(request, client, data, chunked)
            left -= len(data)
        if chunked:
            await self._loop.sock_sendall(client, b"0\r\n\r\n")
        return True

    async def _body(self, request, client, data, chunked=False):
        await self._flow.wait()
        framed = b"%x\r\n%b\r\n" % (len(data), data) if chunked and data else data
        # counted before whoever gets them can ask for the count
        request.body_bytes += len(data)
        self.bytes_down += len(data)
        try:
            await self._loop.sock_sendall(client, framed)
        except BaseException:  # it is cancelled, perhaps
            request.body_bytes -= len(data)
            self.bytes_down -= len(data)
            raise

    async def _pass_chunked(self, request, client, server, pending):
        """Passes chunks as they are; only their lengths are read, to find the end."""
        while True:
            while b"\r\n" not in pending[server]:
                more = await self._loop.sock_recv(server, BLOCK)
                if not more:
                    raise ConnectionResetError
                pending[server] += more
            size = pending[server].partition(b"\r\n")[0]
            whole = len(size) + 2 + int(size.split(b";")[0], 16) + 2
            while len(pending[server]) < whole:
                more = await self._loop.sock_recv(server, BLOCK)
                if not more:
                    raise ConnectionResetError
                pending[server] += more
            await self._body(request, client, pending[server][:whole])
            pending[server] = pending[server][whole:]
            if int(size.split(b";")[0], 16) == 0:
                return


def main():
    """proxy.py TARGET_PORT PORT_FILE LOG: an HttpProxy until it is ended."""
    with open(sys.argv[3], "a", buffering=1, encoding="utf-8") as log:
        proxy = HttpProxy(int(sys.argv[1]), log=log).start()
        with open(sys.argv[2] + ".new", "w", encoding="utf-8") as f:
            f.write(str(proxy.port))
        os.rename(sys.argv[2] + ".new", sys.argv[2])
        threading.Event().wait()


if __name__ == "__main__":
    main()
