"""Raw requests with a name, the row of the rules they belong to, where to split them, and what must come of them.

For: building cases. Not for: which cases there are (`refused.py`, `accepted.py`).
"""

from dataclasses import dataclass, field

HOST = b"example.test"


@dataclass(frozen=True)
class Case:
    """`expect` is how many requests must reach the origin; `refused` says that the client gets a refusal."""

    name: str
    row: str
    data: bytes
    expect: int = 0
    refused: bool = True
    splits: tuple = field(default=())
    # Sent, and then the connection is closed by the client.
    cut: bool = False
    # What the origin must read: (method, path, body), where it is not the only way to be right.
    reading: tuple = field(default=())
    # Statuses with which the refusal may come.
    statuses: tuple = (400, 408, 413, 414, 417, 431, 501, 505)


class Cases:
    """Collects cases; each gets a path of its own, so that the origin's log says whose a request is."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.all = []

    def path(self):
        return b"/c/%s%d" % (self.prefix.encode(), len(self.all))

    def smuggled(self):
        """A request that must not be one."""
        return b"GET /c/smuggled-%s%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (self.prefix.encode(), len(self.all), HOST)

    def add(self, row, what, data, **more):
        splits = more.pop("splits", None)
        if splits is None:
            # In the middle, and about the places where readers stop to think.
            places = {len(data) // 2, len(data) - 1, data.find(b"\r\n") + 1, data.find(b"\r\n\r\n") + 2, data.find(b":")}
            splits = tuple(sorted(place for place in places if 0 < place < len(data)))
        name = f"{row}/{len(self.all)}-{what}"
        self.all.append(Case(name=name, row=row, data=data, splits=splits, **more))

    def head(self, method=b"GET", target=None, version=b"HTTP/1.1", lines=(), host=True):
        """A head; `lines` are whole header lines without their end."""
        target = self.path() if target is None else target
        lines = [b"Host: " + HOST] * bool(host) + list(lines)
        return b"%s %s %s\r\n" % (method, target, version) + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def chunked(*chunks, trailers=b"", last=b"0\r\n"):
    """A body in chunks: pairs of a size line's text and data, or data."""
    body = b""
    for chunk in chunks:
        size, data = chunk if isinstance(chunk, tuple) else (b"%x" % len(chunk), chunk)
        body += size + b"\r\n" + data + b"\r\n"
    return body + last + trailers + b"\r\n"


def shown(data):
    """A short name for bytes."""
    text = "".join(chr(byte) if 33 <= byte < 127 and byte not in b"/\\" else f"~{byte:02x}" for byte in data[:40])
    return text or "empty"
