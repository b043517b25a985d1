"""Requests of HTTP/2: those that are right pass, and what HTTP/1.1 could not say does not.

Not for floods; those are in `floods.py`.
"""

import asyncio

import h2.config
import h2.connection
import h2.events

from case import HOST
from client import all_of


async def ask(port, headers, data=None, trailers=None, own="127.0.0.1"):
    """Asks once with h2, which is told to send anything; returns the status, or `reset` or `closed`."""
    config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(own, 0))
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
