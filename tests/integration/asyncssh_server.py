"""asyncssh's SSH and SFTP server on loopback, on a thread of its own."""

import asyncio
import getpass
import os
import threading
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import asyncssh

from sshd import Host, make_key


class AsyncSsh(Host):
    """folder/files is what it is meant to show, as Sshd's."""

    def __init__(self, folder, name, client_key):
        self.folder, self.name, self.client_key = str(folder), name, str(client_key)
        self.user = getpass.getuser()
        self.files = os.path.join(self.folder, "files")
        os.makedirs(self.files)
        self.host_key = make_key(os.path.join(self.folder, "host_key"), name)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def serving(self):
        """What asyncssh is to do with those who have logged in."""
        return {"sftp_factory": True}

    def start(self):
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError(f"{self.name} does not start")
        return self

    def stop(self):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)

    async def _main(self):
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[self.host_key],
            authorized_client_keys=self.client_key + ".pub", **self.serving())
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
