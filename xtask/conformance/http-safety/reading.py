"""Reads requests of HTTP/1.1 as strictly as RFC 9112 allows, and h11's reading of the same bytes.

For: saying exactly what arrived at an origin. Shares nothing with the scanner that is looked at.
"""

import re
from dataclasses import dataclass

import h11

LINE = re.compile(rb"([A-Z-]+) (/[!-~]*|\*|(?i:https?)://[!-~]+) HTTP/1\.([01])")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t -~\x80-\xff]*)?")


class Malformed(Exception):
    """This is no request."""


@dataclass(frozen=True)
class Request:
    method: bytes
    target: bytes
    headers: tuple
    body: bytes
    trailers: tuple = ()

    @property
    def path(self):
        """The target without scheme and authority."""
        return re.sub(rb"^(?i:https?)://[^/?]*", b"", self.target)

    def reading(self):
        return (self.method, self.path, self.body)


def fields(lines):
    read = []
    for line in lines:
        match = FIELD.fullmatch(line)
        if not match:
            raise Malformed(f"the header line {line[:60]!r}")
        read.append((match[1].lower(), match[2].strip(b" \t")))
    return tuple(read)


def head(data):
    """Returns the first line, the headers and where the body begins, once the head is whole."""
    end = data.find(b"\r\n\r\n")
    text = data if end < 0 else data[: end + 2]
    if re.search(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)(?!$)|(?<!\r)\n", text):
        raise Malformed(f"a control character or half an end of a line in {text[:60]!r}")
    if end < 0:
        return None
    first, *lines = data[:end].split(b"\r\n")
    match = LINE.fullmatch(first)
    if not match:
        raise Malformed(f"the first line {first[:60]!r}")
    return match, fields(lines), end + 4


def read_one(data):
    """Returns a request and how long it is; None while it is not whole."""
    read = head(data)
    if read is None:
        return None
    match, headers, at = read
    values = lambda name: [value for other, value in headers if other == name]
    hosts, lengths, codings = values(b"host"), values(b"content-length"), values(b"transfer-encoding")
    if len(hosts) > 1 or (not hosts and match[3] == b"1"):
        raise Malformed(f"{len(hosts)} hosts")
    if codings and (codings != [b"chunked"] or lengths or match[3] == b"0"):
        raise Malformed(f"the codings {codings} with the lengths {lengths}")
    if lengths and (len(lengths) > 1 or not re.fullmatch(rb"\d{1,18}", lengths[0])):
        raise Malformed(f"the lengths {lengths}")
    if not codings:
        length = int(lengths[0]) if lengths else 0
        if len(data) < at + length:
            return None
        return Request(match[1], match[2], headers, data[at : at + length]), at + length
    body = b""
    while True:
        end = data.find(b"\r\n", at)
        size = SIZE.fullmatch(data[at:end]) if end >= 0 else None
        if end < 0:
            return None
        if not size:
            raise Malformed(f"the size of a chunk {data[at:end][:60]!r}")
        at, length = end + 2, int(size[1], 16)
        if length == 0:
            break
        if len(data) < at + length + 2:
            return None
        if data[at + length : at + length + 2] != b"\r\n":
            raise Malformed("a chunk without its end")
        body += data[at : at + length]
        at += length + 2
    if data[at : at + 2] == b"\r\n":
        return Request(match[1], match[2], headers, body), at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    return Request(match[1], match[2], headers, body, fields(data[at:end].split(b"\r\n"))), end + 4


def read_all(data):
    """Returns all whole requests."""
    requests = []
    while data and (read := read_one(data)):
        requests.append(read[0])
        data = data[read[1] :]
    return requests


def read_by_h11(data):
    """Returns what h11 reads: requests in the same form, until it refuses."""
    connection, requests, current, body = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), [], None, b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                current, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                requests.append(Request(current.method, current.target, tuple(current.headers), body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()
            else:
                break
    except (h11.ProtocolError, RuntimeError):
        pass
    return requests
