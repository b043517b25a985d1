"""What must be refused: every row of the rules, in many spellings. Framing and lines; `refused_words.py` has the rest."""

from case import HOST, chunked, shown

CHUNKED = b"Transfer-Encoding: chunked"
CONTROLS = [byte for byte in range(32) if byte not in (9, 10, 13)] + [127]


def length_and_coding(cases):
    row = "CL+TE"
    for method in (b"POST", b"GET", b"PUT"):
        for name in (b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING"):
            for length in (b"0", b"5", b"6", b"60"):
                for first in (True, False):
                    lines = [b"Content-Length: " + length, name + b": chunked"]
                    lines = lines if first else lines[::-1]
                    body = b"0\r\n\r\n" + cases.smuggled()
                    cases.add(row, f"{shown(method)}-{shown(length)}", cases.head(method, lines=lines) + body)
    for between in ([b"X-A: b"], [b"Connection: close"], [b"Connection: keep-alive", b"Accept: */*"]):
        lines = [CHUNKED, *between, b"Content-Length: 4"]
        cases.add(row, "apart", cases.head(b"POST", lines=lines) + b"1\r\nx\r\n0\r\n\r\n" + cases.smuggled())
    for nominated in (b"Transfer-Encoding", b"Content-Length", b"close, Transfer-Encoding", b"Content-Length, keep-alive"):
        lines = [b"Connection: " + nominated, CHUNKED, b"Content-Length: 4"]
        cases.add(row, "nominated", cases.head(b"POST", lines=lines) + b"0\r\n\r\n" + cases.smuggled())


def lengths(cases):
    row = "CL repeated or list"
    for method in (b"POST", b"GET"):
        for one, other in ((5, 5), (5, 6), (0, 5), (5, 0), (5, 50), (0, 0)):
            for between in ([], [b"X-A: b"], [b"Accept: */*", b"X-B: c"]):
                lines = [b"Content-Length: %d" % one, *between, b"content-length: %d" % other]
                cases.add(row, f"{one}-{other}", cases.head(method, lines=lines) + b"hello" + cases.smuggled())
        for value in (b"5, 5", b"5,5", b"5, 6", b"0, 5", b"5,", b",5", b"5 5", b"5;5", b"5, 5, 5", b"5\t5", b"5 , 5"):
            lines = [b"Content-Length: " + value]
            cases.add(row, shown(value), cases.head(method, lines=lines) + b"hello" + cases.smuggled())
    row = "CL value"
    values = [
        b"", b" ", b"+5", b"-5", b"-0", b"0x5", b"0X5", b"5h", b"5.0", b"5e0", b"05", b"005", b"00", b"5_", b"1_0", b"'5'", b'"5"', b"5;", b"5a",
        b"a5", b"five", b"5 ", b" 5 ", b"\t5", b"5\t", b"  5", b"0b101", b"0o5", b"5\xa0", b"\xb2", b"\xef\xbc\x95", b"5/5", b"(5)", b"5%", b"NaN",
        b"9999999999999999999", b"18446744073709551616", b"18446744073709551621", b"99999999999999999999999999", b"4294967301x", b"1" * 400,
    ]
    for method in (b"POST", b"GET"):
        for value in values:
            lines = [b"Content-Length: " + value]
            cases.add(row, shown(value), cases.head(method, lines=lines) + b"hello" + cases.smuggled())


def codings(cases):
    row = "TE value"
    values = [
        b"Chunked", b"CHUNKED", b"chunkeD", b"chunked ", b"chunked\t", b"\tchunked", b"  chunked", b"\t chunked", b"", b" ", b"identity", b"gzip", b"deflate",
        b"compress", b"x", b"chunk", b"chunkedd", b"xchunked", b"x-chunked", b"gzip, chunked", b"chunked, gzip", b"identity, chunked", b"chunked, identity",
        b"chunked, chunked", b"chunked,chunked", b",chunked", b"chunked,", b", chunked", b"chunked;q=1", b"chunked;", b"chunked; a=b", b'"chunked"',
        b"'chunked'", b"cow, chunked", b"chunked, cow", b"chunked cow", b"cow chunked", b"chunked\xa0", b"\xa0chunked", b"\xe2\x84\xaahunked",
        b"ch\xc3\xbcnked", b"chunked\x85", b"trailers, chunked", b"null", b"0", b"chunked:", b":chunked", b"=chunked", b"chun ked", b"[chunked]",
    ]
    for method in (b"POST", b"GET"):
        for value in values:
            lines = [b"Transfer-Encoding: " + value]
            cases.add(row, shown(value), cases.head(method, lines=lines) + b"0\r\n\r\n" + cases.smuggled())
    for value in (b"chunked", b"identity", b"gzip", b"", b"x"):
        for other in (b"chunked", b"identity", b""):
            lines = [b"Transfer-Encoding: " + value, b"Transfer-encoding: " + other]
            cases.add("TE repeated", f"{shown(value)}-{shown(other)}", cases.head(b"POST", lines=lines) + b"0\r\n\r\n" + cases.smuggled())
    for method in (b"POST", b"GET"):
        for lines in ([CHUNKED], [CHUNKED, b"Connection: keep-alive"], [b"Content-Length: 5", CHUNKED], [b"Connection: keep-alive", CHUNKED, b"X: y"]):
            data = cases.head(method, version=b"HTTP/1.0", lines=lines) + b"0\r\n\r\n" + cases.smuggled()
            cases.add("TE on HTTP/1.0", shown(method), data)


def framing_names(cases):
    row = "framing header in disguise"
    for name, value, body in ((b"Transfer-Encoding", b"chunked", b"0\r\n\r\n"), (b"Content-Length", b"0", b""), (b"Host", b"other.test", b"")):
        dashed = name if b"-" in name else b"Ho-st"
        spellings = [
            name + b" ", name + b"\t", b" " + name, b"\t" + name, name + b"\x0b", name + b"\x0c", name + b"\0", name + b"\xa0", name + b"\x85", b"\x00" + name,
            dashed.replace(b"-", b"_") if name != b"Host" else b"Host ", dashed.replace(b"-", b" "), dashed.replace(b"-", b"\0-"), b'"' + name + b'"',
            name + b"\r", name[:4] + b"\r" + name[4:], b":" + name, name + b"\x1f", name + b"  ", b"X: y\r" + name, b"X: y\n" + name,
        ]
        for spelling in spellings:
            for length in (b"Content-Length: 5", CHUNKED):
                # Without a body of its own the request ends where the disguise says.
                lines = [length, spelling + b": " + value] if name != b"Host" else [spelling + b": " + value]
                extra = b"0\r\n\r\n" if length == CHUNKED or name == b"Transfer-Encoding" else b"hello"
                cases.add(row, shown(spelling), cases.head(b"POST", lines=lines) + extra + body + cases.smuggled())


def ends_of_lines(cases):
    row = "bare CR or LF"
    for method, extra in ((b"GET", b""), (b"POST", b"hello")):
        lines = [b"X-A: b"] + [b"Content-Length: 5"] * bool(extra)
        for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r", b"\n\n"):
            for place in range(4 + len(lines) - 1):
                data = cases.head(method, lines=lines) + extra
                parts = data.split(b"\r\n", 3 + len(lines) - 1)
                if place + 1 >= len(parts):
                    continue
                # This end of a line is written in another way; an empty line in the middle would be an end.
                if end in (b"\r\n\r", b"\n\n") and place < len(parts) - 2:
                    continue
                before, after = b"\r\n".join(parts[: place + 1]), b"\r\n".join(parts[place + 1 :])
                cases.add(row, f"end{place}-{shown(end)}", before + end + after + (cases.smuggled() if extra else b""), cut=end in (b"\r", b"\n\r"))
        for piece in (b"\r", b"\n", b"\r\r", b"\rX: y", b"\nX: y", b"\r\0\n", b"\n X: y", b"\n\nGET /c/smuggled-in HTTP/1.1\r\nHost: a"):
            for line in (b"X-A: b%sc", b"X-A%s: b", b"Cookie: a=%s", b"%sX-A: b"):
                cases.add(row, f"in-{shown(piece)}", cases.head(method, lines=[line.replace(b"%s", piece)] + lines[1:]) + extra)
    for separator in (b" ", b"\t"):
        for line in (b"X-A: b", b"Content-Length: 0", b"Host: " + HOST, b"Cookie: a"):
            for after in (b"folded", b"", b"Transfer-Encoding: chunked", b": b"):
                lines = [line, separator + after]
                cases.add("obs-fold", shown(line), cases.head(host=not line.startswith(b"Host"), lines=lines))
        for first in (b"Host: " + HOST, b"X: y", b"", b"Transfer-Encoding: chunked"):
            data = cases.head(host=False, lines=[separator + first, b"Host: " + HOST])
            cases.add("white space before the first header", shown(separator + first), data)


def controls(cases):
    row = "control characters"
    for byte in CONTROLS:
        control = bytes([byte])
        path = cases.path()
        places = {
            "method": cases.head(b"G" + control + b"ET"),
            "target": cases.head(target=path + control + b"x"),
            "version": cases.head(version=b"HTTP/1.1" + control),
            "name": cases.head(lines=[b"X-" + control + b"A: b"]),
            "value": cases.head(lines=[b"X-A: b" + control + b"c"]),
            "host": cases.head(host=False, lines=[b"Host: example" + control + b".test"]),
        }
        for place, data in places.items():
            cases.add(row, f"{place}-{byte:02x}", data.replace(path, cases.path()))


def chunks(cases):
    row = "chunk size"
    sizes = [
        b"", b" ", b"0x5", b"0X5", b"+5", b"-5", b" 5", b"5 ", b"\t5", b"5\t", b"5\0", b"\x005", b"5h", b"g", b"5_0", b"5.0", b"5,5", b"5 5", b"'5'", b'"5"',
        b"five", b"-1", b"-0", b"5\x0b", b"5\xa0", b"\xef\xbc\x95", b"ffffffffffffffff", b"fffffffffffffffff", b"10000000000000005", b"80000000000000005",
        b"0" * 64 + b"5", b"5\r", b"5\n", b"5\rx", b"5=5", b"5:5", b"5/5", b"#5", b"5%", b"0x", b"x5", b"5x", b"\\x05",
    ]
    for method in (b"POST", b"GET"):
        for size in sizes:
            body = size + b"\r\nhello\r\n0\r\n\r\n"
            cases.add(row, shown(size), cases.head(method, lines=[CHUNKED]) + body + cases.smuggled())
    for size in (b" 0", b"0 ", b"-0", b"+0", b"0x0", b"0\t", b"0;", b"0\0", b"0\n", b"00000000000000000000"):
        cases.add(row, f"last-{shown(size)}", cases.head(b"POST", lines=[CHUNKED]) + b"5\r\nhello\r\n" + size + b"\r\n\r\n" + cases.smuggled())
    row = "chunk extension"
    extensions = [
        b";", b"; ", b" ;a", b"; a=b", b";a =b", b";a= b", b";a=", b";=b", b";a=b;", b";;", b";a;;b", b";a b", b";a=b c", b";a=\"b", b";a=b\"", b";a=\"b\"c",
        b";a\0", b";a\rb", b";a\nb", b";\n", b";a=\"\n\"", b";a=\"\r\n\"", b";a=\x7f", b";\xe6", b";a=\xe6", b";a=(", b";a\t", b";\x0b", b"; \r", b";a=\"\\",
        b";" + b"a" * 5000, b";a=" + b"b" * 5000, b";a=\"" + b"c" * 5000 + b"\"", b";a" * 2500,
    ]
    for extension in extensions:
        for size in (b"5", b"0"):
            body = size + extension + b"\r\n" + (b"hello\r\n0\r\n" if size == b"5" else b"") + b"\r\n"
            cases.add(row, f"{shown(size)}-{shown(extension)}", cases.head(b"POST", lines=[CHUNKED]) + body + cases.smuggled())
    row = "end of a chunk"
    for end in (b"", b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\0\r\n", b"x\r\n", b"xx", b"\t\r\n", b"\r\0\n", b"0\r\n", b"hello\r\n"):
        for then in (b"0\r\n\r\n", b"5\r\nworld\r\n0\r\n\r\n"):
            body = b"5\r\nhello" + end + then
            cases.add(row, shown(end), cases.head(b"POST", lines=[CHUNKED]) + body + cases.smuggled(), cut=end == b"\r\r\n")
    cases.add(row, "longer", cases.head(b"POST", lines=[CHUNKED]) + b"3\r\nhello\r\n0\r\n\r\n" + cases.smuggled())
    cases.add(row, "shorter", cases.head(b"POST", lines=[CHUNKED]) + b"7\r\nhello\r\n0\r\n\r\n" + cases.smuggled())


def trailers(cases):
    row = "trailers"
    lines = [
        b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: other.test", b"Authorization: Bearer x", b"Cookie: a=b", b"Connection: close", b"TE: gzip",
        b"Trailer: x", b"Content-Type: text/html", b"Content-Encoding: gzip", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1.2.3.4", b"X-Portico-Context: x",
        b"X-Tenant-Id: 1", b"If-Match: x", b"Range: bytes=0-1", b"Cache-Control: no-store", b"Expect: 100-continue", b"Upgrade: websocket", b"Set-Cookie: a=b",
        b"transfer_encoding: chunked", b"X_Forwarded_For: 1.2.3.4", b" X: y", b"\tX: y", b"X : y", b"X\t: y", b": y", b"no colon", b"X: a\0b", b"X: a\rb",
        b"X: a\nHost: b", b"X(: y", b"\xe6: y", b"X: y\r\n folded", b"X: " + b"y" * 9000, b"\r\n".join(b"X-%d: y" % number for number in range(101)),
    ]
    for line in lines:
        for before in ((), (b"hello",)):
            body = chunked(*before, trailers=line + b"\r\n")
            cases.add(row, shown(line), cases.head(b"POST", lines=[CHUNKED]) + body + cases.smuggled())
    for end in (b"0\r\n\n", b"0\n\r\n", b"0\r\nX: y\n\r\n", b"0\r\nX: y\r\n\n", b"0\r\n\rx", b"0\r\n\0\r\n\r\n"):
        cases.add(row, f"end-{shown(end)}", cases.head(b"POST", lines=[CHUNKED]) + end + cases.smuggled())


ROWS = (length_and_coding, lengths, codings, framing_names, ends_of_lines, controls, chunks, trailers)
