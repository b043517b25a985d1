"""The door that is looked at: Portico over a recorder, with one declared route; or another address, for trying out."""

import asyncio
import subprocess
from pathlib import Path

from readers import free_port
from recorder import Recorder

GATEWAY = """
[upstreams.origin]
servers = ["http://127.0.0.1:{origin}"]

# Longer than a client may take: what ends slow clients is not the time for the answer.
[upstreams.origin.timeouts]
first_byte_ms = 120000
body_idle_ms = 120000

[[routes]]
path = "/c/{{*rest}}"
upstream = "origin"
access = "public"
retry = false
timeout_ms = 120000
"""
# Short, so that the slow ends come soon.
SETTINGS = ("server.header_timeout_ms=4000", "server.limits.write_idle_ms=3000", "server.cores=1")


class Subject:
    """What answers at `port`; its origin is `recorder`."""

    def __init__(self):
        self.recorder, self.process, self.port, self.log = Recorder(), None, 0, None

    async def start(self, binary, folder, port=0, origin=0):
        origin = await self.recorder.start(origin)
        if port:
            self.port = port
            return self
        self.port, folder = free_port(), Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "gateway.toml"
        file.write_text(GATEWAY.format(origin=origin))
        settings = [f"gateway.file={file}", *SETTINGS]
        command = [binary, "serve", "--data-dir", str(folder / "data"), "--listen", f"127.0.0.1:{self.port}"]
        command += [word for setting in settings for word in ("--set", setting)]
        self.log = folder / "portico.log"
        self.process = subprocess.Popen(command, stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        for _ in range(1200):
            if self.process.poll() is not None:
                break
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return self
            except OSError:
                await asyncio.sleep(0.05)
        raise SystemExit(f"Portico does not start:\n{self.log.read_text()[-2000:]}")

    def memory(self, what):
        """Returns the memory that the process holds (VmRSS), or held at most (VmHWM), in KiB."""
        if not self.process:
            return 0
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(what))

    def forget_peak(self):
        """Has the kernel count the most anew."""
        if self.process:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def alive(self):
        return self.process is None or self.process.poll() is None

    async def stop(self):
        if self.process:
            self.process.terminate()
            await asyncio.get_running_loop().run_in_executor(None, self.process.wait)
