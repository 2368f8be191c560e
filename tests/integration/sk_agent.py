"""An agent that holds a hardware key, but for the hardware: its signature is over what a touched FIDO
token would sign (OpenSSH's PROTOCOL.u2f, draft-miller-ssh-agent)."""

import hashlib
import os
import socketserver
import struct
import threading

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ED25519, ECDSA = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
APPLICATION = b"ssh:"
LIST, LISTED, SIGN, SIGNED, FAILURE = 11, 12, 13, 14, 5
TOUCHED = 1


def string(data):
    return struct.pack(">I", len(data)) + data


def mpint(number):
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def strings(data, count):
    for _ in range(count):
        size, = struct.unpack(">I", data[:4])
        yield data[4:4 + size]
        data = data[4 + size:]


class SkAgent:
    def __init__(self, folder, kind=ED25519, touched=True):
        self.kind = kind
        self.flags = TOUCHED if touched else 0
        self.signed = 0  # the token's counter
        if kind == ED25519:
            self.key = Ed25519PrivateKey.generate()
            public = string(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            public = string(b"nistp256") + string(self.key.public_key().public_bytes(
                Encoding.X962, PublicFormat.UncompressedPoint))
        self.public = string(kind.encode()) + public + string(APPLICATION)
        self.env = {"SSH_AUTH_SOCK": os.path.join(folder, "sk-agent.sock")}
        agent = self

        class Connection(socketserver.StreamRequestHandler):
            def handle(self):
                while head := self.rfile.read(4):
                    asked = self.rfile.read(struct.unpack(">I", head)[0])
                    self.wfile.write(string(agent.answer(asked[0], asked[1:])))

        self.server = socketserver.ThreadingUnixStreamServer(self.env["SSH_AUTH_SOCK"], Connection)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, kind, rest):
        if kind == LIST:
            return bytes([LISTED]) + struct.pack(">I", 1) + string(self.public) + string(b"token")
        if kind == SIGN:
            key, data = strings(rest, 2)
            if key == self.public:
                return bytes([SIGNED]) + string(self.sign(data))
        return bytes([FAILURE])

    def sign(self, data):
        self.signed += 1
        tail = bytes([self.flags]) + struct.pack(">I", self.signed)
        over = hashlib.sha256(APPLICATION).digest() + tail + hashlib.sha256(data).digest()
        if self.kind == ED25519:
            signature = self.key.sign(over)
        else:
            r, s = decode_dss_signature(self.key.sign(over, ec.ECDSA(SHA256())))
            signature = mpint(r) + mpint(s)
        return string(self.kind.encode()) + string(signature) + tail

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
