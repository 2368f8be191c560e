"""TLS before a plain server on loopback, with a certificate of our own authority, and a way there for who asks
for another host."""

import os
import select
import socket
import ssl
import threading

from procs import run, tool
from proxy import BLOCK, Proxy


class TlsProxy:
    def __init__(self, folder, target_port, name="localhost"):
        self.target_port = target_port
        self.name = name
        self.ca = os.path.join(folder, "ca.pem")
        self._make_certificates(folder)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(folder, "server.pem"),
                                     os.path.join(folder, "server.key"))

    def _make_certificates(self, folder):
        def openssl(*args):
            run(tool("openssl"), *args, cwd=folder)

        with open(os.path.join(folder, "san"), "w", encoding="utf-8") as f:
            f.write(f"subjectAltName = DNS:{self.name}, IP:127.0.0.1\n")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=scoutfs test CA")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", "server.pem")

    def start(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        """One thread for both directions, since a TLS connection may only be used by one."""
        try:
            with self.context.wrap_socket(peer, server_side=True) as client, \
                    socket.create_connection(("127.0.0.1", self.target_port)) as server:
                while True:
                    ready = [client] if client.pending() else \
                        select.select([client, server], [], [])[0]
                    for source in ready:
                        data = source.recv(65536)
                        if not data:
                            return
                        (server if source is client else client).sendall(data)
        except OSError:  # also what ssl raises
            peer.close()


class Tunnel(Proxy):
    """A forward proxy for https, which leads to target_port wherever it is asked to lead."""

    def __init__(self, target_port):
        super().__init__(target_port)
        self.asked = []  # the first lines of the requests

    async def _exchange(self, client, server):
        head = b""
        while b"\r\n\r\n" not in head:
            more = await self._loop.sock_recv(client, BLOCK)
            if not more:
                return
            head += more
        self.asked.append(head.partition(b"\r\n")[0].decode())
        await self._loop.sock_sendall(client, b"HTTP/1.1 200 Connection established\r\n\r\n")
        await super()._exchange(client, server)
