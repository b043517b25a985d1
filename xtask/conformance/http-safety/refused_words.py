"""What must be refused, continued: the words of the first line, hosts, names of headers, sizes, and connections cut off."""

from case import HOST, chunked, shown

GUARDED = (
    "Authorization Cookie Host Content-Length Transfer-Encoding Content-Type Forwarded X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host X-Real-IP "
    "X-Tenant X-Tenant-Id X-User X-User-Id X-Role X-Portico-Context X-Request-Id X-Correlation-Id X-Api-Key X-Original-URL X-Rewrite-URL True-Client-IP "
    "Idempotency-Key Origin"
).split()


def first_line(cases):
    row = "method"
    methods = [
        b"get", b"Get", b"gET", b"post", b"GE T", b"G3T", b"GET1", b"GET.", b"GET!", b"GET_X", b"GET/", b"/GET", b"GET:", b'"GET"', b"GET;", b"GET,POST", b"G\xc3\x89T",
        b"\xefGET", b"-GET", b"*", b"(GET)", b"G=T", b"G@T", b"[GET]", b"{GET}", b"GET\\", b"GET?", b"x", b"GET|", b"~GET", b"A" * 33, b"A" * 9000,
    ]
    for method in methods:
        cases.add(row, shown(method), cases.head(method))
    for target in (b"example.test:443", b"/c/x", b"http://example.test/", b"*"):
        cases.add(row, "CONNECT", cases.head(b"CONNECT", target=target) + cases.smuggled())
    for method in (b"TRACE", b"TRACK"):
        cases.add(row, shown(method), cases.head(method))
    row = "target"
    for make in (
        lambda path: path[1:], lambda path: b"." + path, lambda path: b"\\" + path, lambda path: b"?" + path, lambda path: b"#" + path, lambda path: path + b"#x",
        lambda path: path + b"?a#b", lambda path: path + b"\xe6", lambda path: path + b"\xc3\xa6", lambda path: path + b"?\xe6", lambda path: path + b"<x>",
        lambda path: path + b'"', lambda path: path + b"?<x>", lambda path: path + b'?"', lambda path: path + b"%", lambda path: path + b"%4", lambda path: path + b"%zz",
        lambda path: path + b"%u0041", lambda path: path + b"^", lambda path: path + b"`", lambda path: path + b"{x}", 
        lambda path: b"http:" + path, lambda path: b"http://" + path, lambda path: b"ftp://example.test" + path, lambda path: b"example.test" + path,
        lambda path: b"javascript:alert(1)", lambda path: b"refused://http/bare_line_feed", lambda path: b"http://a@example.test" + path, lambda path: b"http://:80" + path,
        lambda path: b"http://example.test:x" + path, lambda path: b"http://example.test:" + path, lambda path: b"http://example.test:99999" + path,
        lambda path: b"http://exa mple.test" + path, lambda path: b"http://example.test?x", lambda path: b"http://example.test#x", lambda path: b"http://[::1" + path,
        lambda path: b"http://[x]" + path, lambda path: b"http://a,b" + path, lambda path: b"http://a\\b" + path, lambda path: b"http%3a//example.test" + path, lambda path: b"*",
        lambda path: b"*" + path, lambda path: b"/*\\", lambda path: b"example.test:80", lambda path: b"https//example.test" + path, lambda path: b"http://a%2eb" + path,
    ):
        for method in (b"GET", b"POST"):
            target = make(cases.path())
            cases.add(row, shown(target), cases.head(method, target=target))
    row = "path that servers read in two ways"
    for tail in (
        b"/../x", b"/./x", b"//x", b"/..", b"/.", b"/%2e%2e/x", b"/%2e/x", b"/.%2e/x", b"/%2E%2E/x", b"%2fx", b"%2Fx", b"%5cx", b"%5Cx", b"\\x", b"/..\\x", b"%00", b"%0a", b"%0d%0a",
        b"%7f", b"%1f", b"%25", b"%252e%252e", b"/..%2fx", b"/%2e%2e%2fx", b"/...%2f", b"//", b"/x//y", b"//example.test/c/x", b"%09", b"%08",
    ):
        cases.add(row, shown(tail), cases.head(target=cases.path() + tail))
    row = "version"
    for version in (
        b"HTTP/2.0", b"HTTP/3.0", b"HTTP/2", b"HTTP/3", b"HTTP/1", b"HTTP/1.", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/0.9", b"HTTP/1.10", b"HTTP/1.01", b"HTTP/01.1", b"HTTP/11", b"HTTP/1,1",
        b"HTTP/1.1x", b"http/1.1", b"Http/1.1", b"HTTP/1.1.1", b"HTTP /1.1", b"HTTP/ 1.1", b"HTTP/+1.1", b"HTTP/1.-1", b"HTTP/1.1;", b"HTTPS/1.1", b"XHTTP/1.1", b"HTTP\\1.1", b"HTTP/1.1 x",
        b"ICY", b"SIP/2.0", b"RTSP/1.0", b"HTTP/1.1\xa0", b"HTTP/\xb9.\xb9", b"HTTP/x.y", b"HTTP/1.1,HTTP/1.0", b"HTTP/1.1/", b"HTTP/9.9", b"HTTP/1.1 HTTP/1.0",
    ):
        cases.add(row, shown(version), cases.head(version=version))
    row = "spaces in the first line"
    path = cases.path
    for make in (
        lambda: b"GET  %s HTTP/1.1" % path(), lambda: b"GET %s  HTTP/1.1" % path(), lambda: b"GET\t%s HTTP/1.1" % path(), lambda: b"GET %s\tHTTP/1.1" % path(),
        lambda: b" GET %s HTTP/1.1" % path(), lambda: b"\tGET %s HTTP/1.1" % path(), lambda: b"GET %s HTTP/1.1 " % path(), lambda: b"GET %s HTTP/1.1\t" % path(),
        lambda: b"GET %s x HTTP/1.1" % path(), lambda: b"GET %s%%20 x HTTP/1.1" % path(), lambda: b"GET\x0b%s HTTP/1.1" % path(), lambda: b"GET\xa0%s HTTP/1.1" % path(),
        lambda: b"GET %s\xa0HTTP/1.1" % path(), lambda: b"GET%s HTTP/1.1" % path(), lambda: b"GET %sHTTP/1.1" % path(), lambda: b"GET %s" % path(), lambda: b"GET %s " % path(),
        lambda: b"GET", lambda: b"GET ", lambda: b"GET  HTTP/1.1", lambda: b"%s HTTP/1.1" % path(), lambda: b" ", lambda: b"HTTP/1.1 200 OK", lambda: b"GET \t%s HTTP/1.1" % path(),
        lambda: b"GET %s \tHTTP/1.1" % path(), lambda: b"\x16\x03\x01\x02\x00\x01\x00", lambda: b"SSH-2.0-x", lambda: b"EHLO example.test", lambda: b"GET %s HTTP/1.1 HTTP/1.1" % path(),
    ):
        for host in (True, False):
            line = make()
            cases.add(row, shown(line), line + b"\r\n" + (b"Host: " + HOST + b"\r\n") * host + b"\r\n")
    row = "before the first line"
    for before in (b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\n\n", b"\r\n\r\n\r\n", b"\r\n\n", b"\r\n ", b" \r\n", b"\0", b"\xef\xbb\xbf", b"X: y\r\n", b"\r\nX\r\n", b"\t\r\n", b"\r\n" * 50):
        cases.add(row, shown(before), before + cases.head(), cut=before == b"\r")


def hosts(cases):
    row = "host"
    values = [
        b"", b" ", b":80", b"example.test:", b"example.test:x", b"example.test:-1", b"example.test:+80", b"example.test:99999", b"example.test:80:80", b"example.test:8 0", b"a b", b"a\tb",
        b"a,b", b"a, b", b"a;b", b"a/b", b"/", b"a\\b", b"a?b", b"a#b", b"a@b", b"user:pw@a", b"http://a", b"[::1", b"::1", b"[::1]x", b"[x]", b"[::1]:x", b"[]", b"a'b", b'"a"', b"a(b)", b"a{b}", b"a<b>",
        b"a|b", b"a^b", b"a%2eb", b"a%00b", b"a%b", b"\xe6.test", b"b\xc3\xbccher.test", b"a=b", b"a&b", b"a$b", b"a!b", b"a*b", b"*", b"a+b", b"a`b", b"a" * 300, b"example.test:080000", b"[::1%25eth0]", b"[v1.x]",
    ]
    for value in values:
        cases.add(row, shown(value), cases.head(host=False, lines=[b"Host: " + value]))
    for lines in (
        [], [b"X: y"], [b"Hos: a"], [b"Hostt: a"], [b"X-Host: a"], [b"Host: a.test", b"Host: b.test"], [b"Host: a.test", b"Host: a.test"], [b"Host: a.test", b"host: b.test"], [b"HOST: a.test", b"X: y", b"Host: "],
        [b"Host: a.test", b"X: y", b"Host: a.test", b"Host: a.test"], [b"Host: ", b"Host: a.test"],
    ):
        for method in (b"GET", b"POST"):
            cases.add(row, f"{len(lines)}-lines", cases.head(method, host=False, lines=lines))
            cases.add(row, "absolute", cases.head(method, target=b"http://example.test" + cases.path(), host=False, lines=lines))


def names(cases):
    row = "header name"
    for byte in b'"(),/;<=>?@[\\]{} \t\x80\xa0\xc3\xff':
        for name in (b"X%cA", b"%cX", b"X%c"):
            cases.add(row, f"{byte:02x}", cases.head(lines=[name % byte + b": b"]))
    for line in (b": b", b":", b"::", b"no-colon", b"no colon", b"=", b"X", b"X;y", b"\xe6", b"X\xc2\xa0: y", b"GET / HTTP/1.1", b"HTTP/1.1 200 OK", b"-", b"X = y", b"X-A b: c", b"{}: x"):
        for last in (True, False):
            lines = [line] if last else [line, b"X-A: b"]
            cases.add(row, shown(line), cases.head(lines=lines))
    row = "space before the colon"
    for name in (b"Content-Type", b"X-A", b"Cookie", b"Authorization", b"Connection", b"Accept", b"Content-Encoding", b"Expect", b"Upgrade", b"TE"):
        for space in (b" ", b"\t", b"  ", b" \t"):
            cases.add(row, shown(name + space), cases.head(lines=[name + space + b": x"]))
    row = "underscore twin"
    for name in GUARDED:
        if "-" in name:
            for twin in {name.replace("-", "_"), name.replace("-", "_", 1), name.replace("-", "_").lower(), name.replace("-", "_").upper()}:
                cases.add(row, twin, cases.head(lines=[twin.encode() + b": 1"]))
    row = "connection option"
    for name in GUARDED:
        for value in (f"close, {name}", name.lower(), f"keep-alive,{name},x"):
            cases.add(row, name, cases.head(lines=[b"Connection: " + value.encode(), name.encode() + b": 1"] if name not in ("Host", "Content-Length", "Transfer-Encoding") else [b"Connection: " + value.encode()]))
    for value in (b"a b", b"close;x", b"(close)", b"close/x", b'"close"', b"a, b c", b"\xe6", b"close=1"):
        cases.add(row, shown(value), cases.head(lines=[b"Connection: " + value]))
    row = "repeated header"
    for name in (b"Authorization", b"Content-Type"):
        for one, other in ((b"a", b"b"), (b"a", b"a"), (b"", b"a")):
            cases.add(row, shown(name), cases.head(lines=[name + b": " + one, b"X: y", name.lower() + b": " + other]))
    row = "expectation"
    for value in (b"", b"200-ok", b"100", b"continue", b"100-continue, x", b"x, 100-continue", b"100-continue;q=1", b"100 continue", b"101-continue", b"100-continued", b"100_continue", b'"100-continue"'):
        for lines, body in (([], b""), ([b"Content-Length: 5"], b"hello")):
            cases.add(row, shown(value), cases.head(b"POST", lines=[b"Expect: " + value, *lines]) + body)
    row = "upgrade"
    upgrade = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    for lines, body in (([b"Content-Length: 5"], b"hello"), ([b"Transfer-Encoding: chunked"], b"0\r\n\r\n"), ([b"Content-Length: 60"], b"x" * 60)):
        for method in (b"GET", b"POST"):
            cases.add(row, "body", cases.head(method, lines=upgrade + lines) + body + cases.smuggled())


def sizes(cases):
    row = "too large"
    cases.add(row, "first line", cases.head(target=cases.path() + b"?" + b"a" * 9000))
    cases.add(row, "first line without end", b"GET " + cases.path() + b"a" * 20000)
    cases.add(row, "header", cases.head(lines=[b"X: " + b"y" * 17000]))
    cases.add(row, "header without end", cases.head()[:-2] + b"X: " + b"y" * 20000)
    cases.add(row, "header name", cases.head(lines=[b"X" * 17000 + b": y"]))
    cases.add(row, "cookie", cases.head(lines=[b"Cookie: " + b"a=b; " * 4000]))
    for count in (101, 200, 1000):
        cases.add(row, f"{count} headers", cases.head(lines=[b"X-%d: y" % number for number in range(count)]))
    for size in (4000, 8000, 16000):
        cases.add(row, f"head of {size}s", cases.head(lines=[b"X-%d: " % number + b"y" * size for number in range(70000 // size + 1)]))
    cases.add(row, "endless head", cases.head()[:-2] + b"X: y\r\n" * 30000)
    cases.add(row, "chunk extensions", cases.head(b"POST", lines=[b"Transfer-Encoding: chunked"]) + chunked(*[(b"1;" + b"a" * 100, b"x")] * 60))


def cut_off(cases):
    row = "cut off"
    for lines, body, step in (
        ([], b"", 7), ([b"Content-Length: 20"], b"x" * 20, 9), ([b"Transfer-Encoding: chunked"], chunked(b"hello", b"world", trailers=b"X: y\r\n"), 5),
        ([b"Connection: keep-alive", b"Accept: */*"], b"", 11),
    ):
        whole = cases.head(b"POST" if body else b"GET", lines=lines) + body
        for end in range(1, len(whole), step):
            data = cases.head(b"POST" if body else b"GET", lines=lines) + body
            cases.add(row, f"{end}", data[:end], refused=False, cut=True)


def pipelined(cases):
    """The refusal comes in its turn: what is before it is answered."""
    row = "behind a good request"
    good = lambda: b"GET %s/good HTTP/1.1\r\nHost: %s\r\n\r\n" % (cases.path(), HOST)
    posted = lambda: b"POST %s/good HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\nhello" % (cases.path(), HOST)
    pieces = lambda: b"POST %s/good HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % (cases.path(), HOST) + chunked(b"hello")
    bad = [
        b"GET /c/x\r\n\r\n", b"GET /c/x HTTP/1.1\nHost: a\n\n", b"\0", b"x\r\n\r\n", b"GET /c/x HTTP/1.1\r\n\r\n", b"GET /c/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"POST /c/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"hello", b"GET /c/x HTTP/1.1\r\nHost: a\r\n X: y\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"0\r\n\r\n", b"\r\n\r\nGET /c/x HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /c/x HTTP/1.1\r\nHost : a\r\n\r\n", b"\x16\x03\x01",
    ]
    for make in (good, posted, pieces):
        for after in bad:
            cases.add(row, shown(after), make() + after, expect=1, cut=after in (b"hello",), refused=after != b"hello")


ROWS = (first_line, hosts, names, sizes, cut_off, pipelined)
