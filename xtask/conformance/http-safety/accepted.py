"""Unusual requests that are right, and must pass: RFC 9110, RFC 9112, and what clients really send."""

from case import HOST, chunked, shown

CHUNKED = b"Transfer-Encoding: chunked"


def good(cases, row, what, data, method=b"GET", body=b"", **more):
    path = more.pop("path", None) or cases.path()
    more.setdefault("expect", 1)
    cases.add(row, what, data, refused=False, reading=(method, path, body), **more)


def methods(cases):
    for method in (
        b"GET HEAD POST PUT DELETE OPTIONS PATCH PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT M-SEARCH VERSION-CONTROL BASELINE-CONTROL LINK PURGE QUERY SUBSCRIBE ACL".split()
    ):
        good(cases, "method", shown(method), cases.head(method), method)
        good(cases, "method with a body", shown(method), cases.head(method, lines=[b"Content-Length: 5"]) + b"hello", method, b"hello")
        good(cases, "method with chunks", shown(method), cases.head(method, lines=[CHUNKED]) + chunked(b"hello"), method, b"hello")


def targets(cases):
    for tail in (
        b"", b"?", b"?a=b&c=d", b"?a[]=1&b[c]=2", b"?q=a|b", b"?q={x}", b"?q=100%", b"?q=a^b`c", b"?a=/../b", b"?http://example.test/", b"??", b"?a?b", b"?%00", b"?a+b", b"?=", b"?&&",
        b"/", b"/a.b", b"/...", b"/a..b", b"/~user", b"/a;b=c", b"/a,b", b"/a:b", b"/@me", b"/a=b", b"/$a", b"/(a)", b"/'a'", b"/a*b", b"/a!b", b"/a&b", b"/[1]", b"/a|b", b"/%C3%A6", b"/%e6",
        b"/a%20b", b"/%41", b"/a%3Fb", b"/a%23b", b"/a%3Bb", b"/a-b_c", b"/" + b"a" * 4000, b"?" + b"a" * 7000, b"/1/2/3/4/5/6/7/8/9",
    ):
        path = cases.path() + tail
        good(cases, "target", shown(tail), cases.head(target=path), path=path)
    for authority in (HOST, HOST + b":80", b"[::1]:8080", b"EXAMPLE.test"):
        for scheme in (b"http", b"HTTP", b"https"):
            path = cases.path() + b"?a"
            data = cases.head(target=scheme + b"://" + authority + path)
            good(cases, "absolute form", shown(scheme + authority), data, path=path)
    path = cases.path()
    data = cases.head(target=b"http://one.test" + path, host=False, lines=[b"Host: two.test"])
    good(cases, "absolute form", "over the Host header", data, path=path)


def hosts(cases):
    for host in (
        b"localhost", b"127.0.0.1", b"127.0.0.1:8080", b"[::1]", b"[2001:db8::1]:443", b"a.b.c.d.e.test", b"xn--bcher-kva.test", b"EXAMPLE.TEST", b"under_score.test", b"a", b"1", b"example.test.", b"example.test:65535",
        b"-a.test", b"a--b.test", b"a~b",
    ):
        for space in (b" ", b"", b"  ", b"\t"):
            good(cases, "host", shown(host), cases.head(host=False, lines=[b"Host:" + space + host + (b" " if space == b"  " else b"")]))
    for lines in ([], [b"Accept: */*"], [b"Connection: keep-alive"], [b"Connection: close"], [b"Host: " + HOST], [b"Host: " + HOST, b"Connection: keep-alive"]):
        good(cases, "HTTP/1.0", shown(b",".join(lines)), cases.head(version=b"HTTP/1.0", host=False, lines=lines))
        data = cases.head(b"POST", version=b"HTTP/1.0", host=False, lines=[*lines, b"Content-Length: 5"]) + b"hello"
        good(cases, "HTTP/1.0", "body", data, b"POST", b"hello")


def headers(cases):
    for line in (
        b"X-Empty:", b"X-Empty: ", b"X-Empty:\t", b"X:y", b"X:  y  ", b"X:\ty\t", b"x-lower: y", b"X-UPPER: Y", b"x_y: z", b"My_Header: z", b"!#$%&'*+-.^`|~: odd", b"1: 2", b"X: a:b:c", b"X: a, b, ,c", b'X: "a\\"b"', b"X: (comment)",
        b"X: \xe6\xf8\xe5", b"X: \xc3\xa6", b"X: \xff", b"X: a\tb", b"Cookie: a=b; c=d", b"Cookie: " + b"a" * 4000, b"X: " + b"y" * 15000, b"Range: bytes=0-1,5-", b"Accept: */*;q=0.1, text/html", b"TE: trailers", b"TE: gzip;q=0.5, trailers",
        b"Trailer: X-Sum", b"Via: 1.1 x", b"Max-Forwards: 3", b"From: a@b", b"Referer: http://x/?y#z", b"DNT: 1", b"Priority: u=1, i", b"Sec-Fetch-Mode: cors", b"If-None-Match: *", b'If-Match: "a", W/"b"', b"Proxy-Authorization: Basic YTpi",
        b"Connection: ", b"Connection: ,", b"Connection: keep-alive, ,", b"Connection: TE", b"Connection: x-hop", b"Connection: Keep-Alive", b"Connection: close", b"Connection: CLOSE", b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive",
        b"Upgrade: h2c", b"Upgrade: TLS/1.0, HTTP/2.0", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", b"Upgrade: websocket", b"Content-Type: multipart/form-data; boundary=\"a b\"", b"Content-Encoding: x-none", b"Content-Location: /x", b"X-HTTP-Method-Override: DELETE",
        b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=\"[::1]\"", b"Early-Data: 1", b"Content-MD5: x", b"Date: Sat, 21 Nov 2026 10:00:00 GMT", b"Origin: null",
    ):
        good(cases, "header", shown(line), cases.head(lines=[line]))
    for lines in ([b"X: a", b"X: b"], [b"Cookie: a=b", b"Cookie: c=d"], [b"Accept: a", b"accept: b"], [b"Connection: x-a", b"Connection: x-b"], [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"], [b"X-%d: y" % number for number in range(98)]):
        good(cases, "headers", shown(lines[0]), cases.head(lines=lines))
    for place in range(4):
        lines = [b"A: 1", b"B: 2", b"C: 3"]
        lines.insert(place, b"host: " + HOST)
        good(cases, "headers", f"Host as number {place}", cases.head(host=False, lines=lines))
    data = cases.head(b"POST", lines=[b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", b"Content-Length: 5"]) + b"hello"
    good(cases, "upgrade", "h2c with a body", data, b"POST", b"hello")


def bodies(cases):
    for length in (0, 1, 2, 5, 63, 64, 1000, 8191, 8192, 8193, 70000):
        body = bytes(32 + number % 90 for number in range(length))
        for value in (b"Content-Length: %d", b"content-length:%d", b"CONTENT-LENGTH: %d"):
            good(cases, "Content-Length", f"{length}", cases.head(b"POST", lines=[value % length]) + body, b"POST", body)
        pieces = [body[at : at + 997] for at in range(0, length, 997)]
        good(cases, "chunks", f"{length}", cases.head(b"PUT", lines=[CHUNKED]) + chunked(*pieces), b"PUT", body)
    body = b"GET /c/smuggled-x HTTP/1.1\r\nHost: a\r\n\r\n"
    good(cases, "Content-Length", "a body like a request", cases.head(b"POST", lines=[b"Content-Length: %d" % len(body)]) + body, b"POST", body)
    good(cases, "chunks", "a body like a request", cases.head(b"POST", lines=[CHUNKED]) + chunked(body), b"POST", body)
    for chunks in (
        [(b"5", b"hello")], [(b"05", b"hello")], [(b"000005", b"hello")], [(b"A", b"0123456789")], [(b"a", b"0123456789")], [(b"5;a", b"hello")], [(b"5;a=b", b"hello")], [(b"5;a=\"b c\"", b"hello")],
        [(b"5;a=\"b;c\\\"d\"", b"hello")], [(b"5;a=b;c;d=\"\"", b"hello")], [(b"1", b"h"), (b"4", b"ello")], [(b"2", b"\r\n"), (b"3", b"0\r\n")], [b"x"] * 100, [(b"5;" + b"a" * 200, b"hello")],
    ):
        body = b"".join(chunk[1] if isinstance(chunk, tuple) else chunk for chunk in chunks)
        good(cases, "chunks", shown(repr(chunks[0]).encode()), cases.head(b"POST", lines=[CHUNKED]) + chunked(*chunks), b"POST", body)
    for last in (b"0\r\n", b"00\r\n", b"000\r\n", b"0;a=b\r\n"):
        good(cases, "last chunk", shown(last), cases.head(b"POST", lines=[CHUNKED]) + chunked(b"hello", last=last), b"POST", b"hello")
    for trailers in (b"X-Sum: abc\r\n", b"X:\r\n", b"X: a\r\nX: b\r\n", b"grpc-status: 0\r\n", b"Server-Timing: a;dur=1\r\n", b"X: " + b"y" * 4000 + b"\r\n", b"ETag: \"x\"\r\n"):
        good(cases, "trailers", shown(trailers), cases.head(b"POST", lines=[CHUNKED]) + chunked(b"hello", trailers=trailers), b"POST", b"hello")
        good(cases, "trailers", shown(trailers), cases.head(b"POST", lines=[CHUNKED, b"TE: trailers", b"Trailer: X"]) + chunked(trailers=trailers), b"POST")
    for value in (b"100-continue", b"100-Continue", b"100-CONTINUE"):
        data = cases.head(b"POST", lines=[b"Expect: " + value, b"Content-Length: 5"]) + b"hello"
        good(cases, "expectation", shown(value), data, b"POST", b"hello")
        good(cases, "expectation", "chunks", cases.head(b"POST", lines=[b"Expect: " + value, CHUNKED]) + chunked(b"hello"), b"POST", b"hello")


def pipelines(cases):
    get = lambda: cases.head(lines=[b"Accept: */*"])
    post = lambda: cases.head(b"POST", lines=[b"Content-Length: 5"]) + b"hello"
    pieces = lambda: cases.head(b"PUT", lines=[CHUNKED]) + chunked(b"hello", trailers=b"X: y\r\n")
    for makes in ((get, get), (post, get), (pieces, get), (get, post, pieces), (pieces, pieces), (post,) * 5, (get,) * 20, (pieces, post, get, pieces), (get, pieces, post) * 4):
        data = b"".join(make() for make in makes)
        good(cases, "pipelined", f"{len(makes)}", data, expect=len(makes), method=None)


ROWS = (methods, targets, hosts, headers, bodies, pipelines)
