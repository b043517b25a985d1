"""Sends raw bytes, in pieces, and reads what comes back."""

import asyncio
import re


class Heard:
    """The answers on a connection, and whether it was closed."""

    def __init__(self):
        self.data, self.closed = b"", False
        self.statuses, self.problems = [], 0

    def take(self, methods):
        """Reads whole answers from the data; `methods` says which have no body."""
        while True:
            end = self.data.find(b"\r\n\r\n")
            match = re.match(rb"HTTP/1\.[01] (\d{3})", self.data)
            if end < 0 or not match:
                return
            status, lines = int(match[1]), self.data[:end].lower().split(b"\r\n")[1:]
            if status < 200 and status != 101:
                self.data = self.data[end + 4 :]
                continue
            headers = dict(line.split(b":", 1) for line in lines if b":" in line)
            number = len(self.statuses)
            length = int(headers.get(b"content-length", b"0").strip())
            if (number < len(methods) and methods[number] == b"HEAD") or status in (204, 304, 101):
                length = 0
            if len(self.data) < end + 4 + length:
                return
            self.statuses.append(status)
            self.problems += b"problem+json" in headers.get(b"content-type", b"")
            self.data = self.data[end + 4 + length :]


async def exchange(port, pieces, methods=(), answers=None, quiet=None, patience=20.0, cut=False, own="127.0.0.1"):
    """Sends pieces. Ends after so many answers; or when nothing comes for a while; or at the end of the connection.

    `own` is the address from which it comes.
    """
    heard = Heard()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(own, 0))

    async def send():
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(0.002)
            writer.write(piece)
            await writer.drain()

    async def receive():
        while answers is None or len(heard.statuses) < answers:
            wait = reader.read(1 << 16)
            data = await (asyncio.wait_for(wait, quiet) if quiet else wait)
            if not data:
                heard.closed = True
                return
            heard.data += data
            heard.take(methods)

    sending = asyncio.ensure_future(send())
    try:
        if cut:
            await sending
            await asyncio.sleep(0.02)
        else:
            await asyncio.wait_for(receive(), patience)
    except asyncio.TimeoutError:
        pass
    except ConnectionError:
        heard.closed = True
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
    return heard


async def all_of(work, at_once=48):
    """Runs coroutines, so many at a time, and returns what they return in order."""
    gate = asyncio.Semaphore(at_once)

    async def one(task):
        async with gate:
            return await task

    return await asyncio.gather(*(one(task) for task in work))
