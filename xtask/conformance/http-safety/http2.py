"""Abuse of HTTP/2: resets, pings, settings, header blocks without end, and requests that HTTP/1.1 could not say."""

import asyncio

import h2.config
import h2.connection
import h2.events
from hpack import Encoder

from attacks import under
from case import HOST
from client import all_of

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(path=b"/c/f1", method=b"GET", more=(), pseudo=None):
    pseudo = pseudo if pseudo is not None else [(b":method", method), (b":scheme", b"http"), (b":authority", HOST), (b":path", path)]
    return Encoder().encode([*pseudo, *more], huffman=False)


async def flood(port, make, times, patience=20):
    """Sends what `make` makes for each number until the server has had enough; returns after how many that was seen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent, ended = 0, asyncio.Event()

    async def read():
        try:
            while await reader.read(1 << 16):
                pass
        except OSError:
            pass
        ended.set()

    reading = asyncio.ensure_future(read())
    try:
        writer.write(PREFACE + frame(4, 0, 0))
        for number in range(times):
            if ended.is_set():
                break
            writer.write(make(number))
            sent = number + 1
            if number % 50 == 49:
                await asyncio.wait_for(writer.drain(), patience)
                await asyncio.sleep(0)
        await asyncio.wait_for(ended.wait(), 3)
    except (OSError, asyncio.TimeoutError):
        pass
    closed = ended.is_set()
    reading.cancel()
    writer.close()
    return sent, closed


async def ask(port, headers, data=None, trailers=None, trusting=True):
    """Asks once with h2, which is told to send anything; returns the status, or `reset` or `closed`."""
    config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection.send_headers(1, headers, end_stream=data is None)
    if data is not None:
        connection.send_data(1, data, end_stream=trailers is None)
    if trailers:
        connection.send_headers(1, trailers, end_stream=True)
    writer.write(connection.data_to_send())
    try:
        while piece := await asyncio.wait_for(reader.read(1 << 16), 10):
            for event in connection.receive_data(piece):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])
                if isinstance(event, h2.events.StreamReset):
                    return "reset"
                if isinstance(event, h2.events.ConnectionTerminated):
                    return "closed"
            writer.write(connection.data_to_send())
    except (OSError, asyncio.TimeoutError, h2.exceptions.ProtocolError):
        return "closed"
    finally:
        writer.close()
    return "closed"


def plain(path, method=b"GET", more=(), scheme=b"http", authority=HOST):
    return [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path), *more]


ACCEPTED = (
    (plain(b"/c/g1"), None), (plain(b"/c/g1?a[]={b}"), None), (plain(b"/c/g1", b"POST", [(b"content-length", b"5")]), b"hello"), (plain(b"/c/g1", b"POST"), b"hello"),
    (plain(b"/c/g1", more=[(b"te", b"trailers")]), None), (plain(b"/c/g1", more=[(b"cookie", b"a=b"), (b"cookie", b"c=d")]), None), (plain(b"/c/g1", more=[(b"host", HOST)]), None),
    (plain(b"/c/g1", b"M-SEARCH"), None), (plain(b"/c/g1", scheme=b"https"), None), (plain(b"/c/g1", more=[(b"x", b"")]), None),
)
REFUSED = (
    (plain(b"/c/b1", more=[(b"connection", b"close")]), None), (plain(b"/c/b1", more=[(b"transfer-encoding", b"chunked")]), b"0\r\n\r\n"), (plain(b"/c/b1", more=[(b"upgrade", b"websocket")]), None),
    (plain(b"/c/b1", more=[(b"keep-alive", b"1")]), None), (plain(b"/c/b1", more=[(b"proxy-connection", b"close")]), None), (plain(b"/c/b1", more=[(b"te", b"gzip")]), None),
    (plain(b"/c/b1", more=[(b"X-Upper", b"a")]), None), (plain(b"/c/b1", more=[(b"a b", b"c")]), None), (plain(b"/c/b1", more=[(b"", b"c")]), None), (plain(b"/c/b1", more=[(b"a:", b"c")]), None),
    (plain(b"/c/b1", more=[(b"a", b"b\r\nc: d")]), None), (plain(b"/c/b1", more=[(b"a", b"b\nc")]), None), (plain(b"/c/b1", more=[(b"a", b"b\0c")]), None), (plain(b"/c/b1", more=[(b"a\r\nb", b"c")]), None),
    (plain(b"/c/b1 HTTP/1.1\r\nx: y"), None), (plain(b"/c/b1\r\n"), None), (plain(b"c/b1"), None), (plain(b""), None), (plain(b"*"), None), (plain(b"http://x/c/b1"), None),
    (plain(b"/c/b1", b"get"), None), (plain(b"/c/b1", b"GET / HTTP/1.1"), None), (plain(b"/c/b1", b"CONNECT"), None), (plain(b"/c/b1", b"TRACE"), None), (plain(b"/c/b1", b""), None),
    (plain(b"/c/b1", scheme=b"ftp"), None), (plain(b"/c/b1", scheme=b"refused"), None), (plain(b"/c/b1", authority=b"a b"), None), (plain(b"/c/b1", authority=b"u@a"), None), (plain(b"/c/b1", authority=b""), None),
    (plain(b"/c/b1", more=[(b"host", b"other.test")]), None), (plain(b"/c/b1", more=[(b"host", b"a"), (b"host", b"b")]), None), (plain(b"/c/b1", more=[(b"x_forwarded_for", b"1")]), None),
    (plain(b"/c/b1", b"POST", [(b"content-length", b"6")]), b"hello"), (plain(b"/c/b1", b"POST", [(b"content-length", b"4")]), b"hello"), (plain(b"/c/b1", b"POST", [(b"content-length", b"5"), (b"content-length", b"5")]), b"hello"),
    (plain(b"/c/b1", b"POST", [(b"content-length", b"+5")]), b"hello"), (plain(b"/c/b1", b"POST", [(b"content-length", b"5")]), None), (plain(b"/c/b1", more=[(b"expect", b"200-ok")]), None),
    ([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", HOST)], None), ([(b":scheme", b"http"), (b":path", b"/c/b1"), (b":authority", HOST)], None),
    ([(b":method", b"GET"), *plain(b"/c/b1")], None), ([*plain(b"/c/b1"), (b":path", b"/c/b2")], None), ([*plain(b"/c/b1"), (b":unknown", b"x")], None), ([(b"a", b"b"), *plain(b"/c/b1")], None),
    ([*plain(b"/c/b1"), (b":status", b"200")], None), (plain(b"/c/b1/../x"), None), (plain(b"/c/b1%2fx"), None), (plain(b"/c//b1"), None), (plain(b"/c/b1", more=[(b"x", b"y" * 20000)]), None),
    (plain(b"/c/b1", more=[(b"x-%d" % number, b"y") for number in range(150)]), None), (plain(b"/c/b1", more=[(b"x-%d" % number, b"y" * 1000) for number in range(90)]), None),
    ([(b":method", b"CONNECT"), (b":authority", HOST)], None), ([*plain(b"/c/b1", b"CONNECT"), (b":protocol", b"websocket")], None),
)


async def run(subject, check):
    print("HTTP/2:")
    recorder = subject.recorder
    recorder.forget()
    for headers, data in ACCEPTED:
        answer = await ask(subject.port, headers, data)
        check(answer == 200, f"HTTP/2 {headers}: {answer}")
    check(len(recorder.requests["g1"]) == len(ACCEPTED), "what is right arrived")
    answers = await all_of((ask(subject.port, headers, data) for headers, data in REFUSED), 8)
    for (headers, _), answer in zip(REFUSED, answers):
        check(answer in ("reset", "closed") or 400 <= answer < 600, f"HTTP/2 {str(headers)[:200]}: {answer}")
    await asyncio.sleep(0.2)
    arrived = [request.reading() for request in recorder.requests["b1"] + recorder.unknown]
    check(not arrived and not recorder.malformed, f"what is wrong did not arrive: {arrived}, {recorder.malformed}")
    print(f"  {len(ACCEPTED)} right and {len(REFUSED)} wrong requests asked")

    small, stream = block(), lambda number: 2 * number + 1
    attacks = {
        "rapid reset": lambda number: frame(1, 5, stream(number), small) + frame(3, 0, stream(number), (8).to_bytes(4, "big")),
        "MadeYouReset by a window of nothing": lambda number: frame(1, 4, stream(number), small) + frame(8, 0, stream(number), (0).to_bytes(4, "big")),
        "MadeYouReset by a window too large": lambda number: frame(1, 4, stream(number), small) + frame(8, 0, stream(number), (0x7FFFFFFF).to_bytes(4, "big")),
        "MadeYouReset by priority of itself": lambda number: frame(1, 4, stream(number), small) + frame(2, 0, stream(number), stream(number).to_bytes(4, "big") + b"\x10"),
        "MadeYouReset by data after the end": lambda number: frame(1, 5, stream(number), small) + frame(0, 0, stream(number), b"x"),
        "CONTINUATION flood": lambda number: frame(1, 0, 1, small) if number == 0 else frame(9, 0, 1, Encoder().encode([(b"x-%d" % number, b"y" * 1000)], huffman=False)),
        "CONTINUATION of nothing": lambda number: frame(1, 0, 1, small) if number == 0 else frame(9, 0, 1),
        "SETTINGS flood": lambda number: frame(4, 0, 0, b"\x00\x04\x00\x01\x00\x00"),
        "SETTINGS flood with table sizes": lambda number: frame(4, 0, 0, b"\x00\x01" + (number % 2 * 4096).to_bytes(4, "big")),
        "PING flood": lambda number: frame(6, 0, 0, b"12345678"),
        "PRIORITY flood": lambda number: frame(2, 0, stream(number), b"\0\0\0\0\x10"),
        "empty DATA flood": lambda number: frame(1, 4, 1, block(method=b"POST")) if number == 0 else frame(0, 0, 1),
        "unknown frames": lambda number: frame(0x77, 0, 0, b"x" * 100),
        "header list of bombs": lambda number: frame(1, 5, stream(number), BOMB),
    }
    for name, make in attacks.items():
        async with under(subject, check, f"{name}, 4 connections"):
            ends = await all_of((flood(subject.port, make, 20000) for _ in range(4)), 4)
        print(f"    ended after {[sent for sent, _ in ends]}")
        check(all(closed for _, closed in ends), f"{name}: the connection is ended")
    async with under(subject, check, "streams that are opened and left, 8 connections"):
        await all_of((flood(subject.port, lambda number: frame(1, 4, stream(number), block(method=b"POST")), 300) for _ in range(8)), 8)
    async with under(subject, check, "header block without end, 100 connections"):
        await all_of((flood(subject.port, lambda number: frame(1, 0, 1, small), 1) for _ in range(100)), 100)
    check(not recorder.malformed, "nothing malformed arrived")


# One long header in the table, named again and again: a few bytes on the wire, megabytes when read.
BOMB = Encoder().encode([*plain(b"/c/f2"), (b"x", b"y" * 3000)], huffman=False) + b"\xbe" * 4000
