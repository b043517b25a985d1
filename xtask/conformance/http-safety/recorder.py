"""An origin that writes down every byte, and answers what it can read."""

import asyncio
import re
from collections import defaultdict

from reading import Malformed, head, read_one

CASE = re.compile(rb"/c/(?:smuggled-)?([a-z]+\d+)")

LARGE = b"x" * (1 << 20)


class Recorder:
    """Listens on a port; `requests` is by the number of the case in the path."""

    def __init__(self):
        self.requests, self.malformed, self.connections, self.unknown = defaultdict(list), [], [], []
        self.server = None

    async def start(self, port=0):
        self.server = await asyncio.start_server(self.attend, "127.0.0.1", port, limit=1 << 22, backlog=1024)
        return self.server.sockets[0].getsockname()[1]

    def forget(self):
        """Begins anew; what is on its way belongs to what comes."""
        self.requests, self.malformed, self.unknown = defaultdict(list), [], []
        self.connections = []

    async def attend(self, reader, writer):
        log, data, told = bytearray(), b"", False
        self.connections.append(log)
        try:
            while piece := await reader.read(1 << 16):
                log += piece
                data += piece
                while data:
                    try:
                        read = read_one(data)
                        waits = read is None and not told and head(data)
                    except Malformed as error:
                        found = CASE.search(data)
                        self.malformed.append((found[1].decode() if found else "?", str(error), bytes(data[:300])))
                        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                        await writer.drain()
                        return
                    if waits and any(name == b"expect" for name, _ in waits[1]):
                        told = True
                        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    if read is None:
                        break
                    request, length = read
                    data, told = data[length:], False
                    found = CASE.search(request.target)
                    if found:
                        self.requests[found[1].decode()].append(request)
                    else:
                        self.unknown.append(request)
                    body = LARGE if request.target.endswith(b"?large") else b"read"
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body))
                    writer.write(b"" if request.method == b"HEAD" else body)
                    await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
