"""Slow clients and floods of headers: they end, honest requests are answered meanwhile, and memory stays bounded."""

import asyncio
import re
import shutil
import subprocess
import time
from collections import Counter
from contextlib import asynccontextmanager

from case import HOST
from client import all_of, exchange

# How much more memory the server may hold after an attack than before; allocators keep some.
MOST_KIB = 48 * 1024
HONEST = b"GET /c/h1 HTTP/1.1\r\nHost: " + HOST + b"\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def under(subject, check, name):
    """Asks honestly as long as the attack goes on, and says what it did to the memory."""
    before, began, answers, most = subject.resident(), time.monotonic(), [], 0
    others = Counter()
    going = True

    async def honest():
        nonlocal most
        while going:
            start = time.monotonic()
            try:
                heard = await exchange(subject.port, [HONEST], answers=1, patience=5)
                answers.append((heard.statuses == [200], time.monotonic() - start))
                if heard.statuses != [200]:
                    others[str(heard.statuses) or "nothing"] += 1
            except OSError as error:
                answers.append((False, 0))
                others[str(error)] += 1
            most = max(most, subject.resident())
            await asyncio.sleep(0.1)

    asking = asyncio.ensure_future(honest())
    try:
        yield
    finally:
        going = False
        await asking
    after, fine = subject.resident(), sum(answered for answered, _ in answers)
    slowest = max((took for _, took in answers), default=0)
    print(f"  {name}: {time.monotonic() - began:.1f} s; {fine} of {len(answers)} honest requests answered, slowest {slowest * 1000:.0f} ms; "
          f"memory {before} KiB before, {most} at most, {after} after", flush=True)
    check(fine == len(answers) and answers, f"{name}: honest requests are answered, not {dict(others)}")
    check(max(most, after) - before < MOST_KIB, f"{name}: memory is bounded")


async def trickle(port, head, piece, every, patience):
    """Sends a piece every so often; returns how long the server took part in it."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head)
        reading = asyncio.ensure_future(reader.read(1 << 16))
        while time.monotonic() - began < patience:
            done, _ = await asyncio.wait([reading], timeout=every)
            if done:
                break
            writer.write(piece)
        reading.cancel()
        writer.close()
    except OSError:
        pass
    return time.monotonic() - began


async def run(subject, check):
    print("slow clients and floods:")
    host = b"Host: " + HOST + b"\r\n"
    head = b"GET /c/s1 HTTP/1.1\r\n" + host
    async with under(subject, check, "slow heads, 300 connections"):
        took = await all_of((trickle(subject.port, head, b"X: y\r\n", 0.5, 20) for _ in range(300)), 300)
    check(max(took) < 12, f"a slow head ends: {max(took):.1f} s")
    async with under(subject, check, "no head at all, 300 connections"):
        took = await all_of((trickle(subject.port, b"", b"", 0.5, 20) for _ in range(300)), 300)
    check(max(took) < 12, f"silence ends: {max(took):.1f} s")
    body = b"POST /c/s2 HTTP/1.1\r\n" + host + b"Content-Length: 100000\r\n\r\n"
    chunks = b"POST /c/s3 HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n"
    async with under(subject, check, "slow bodies, 200 connections"):
        took = await all_of([*(trickle(subject.port, body, b"x", 2, 60) for _ in range(100)), *(trickle(subject.port, chunks, b"1\r\nx\r\n", 2, 60) for _ in range(100))], 200)
    check(max(took) < 45, f"a slow body ends: {max(took):.1f} s")
    async with under(subject, check, "floods of headers, 400 connections"):
        flood = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(5000))
        heard = await all_of((exchange(subject.port, [head + flood], quiet=5, patience=15) for _ in range(400)), 40)
    check(all(431 in answer.statuses or answer.closed for answer in heard), "a flood of headers is refused")
    async with under(subject, check, "half heads of 60 KiB, 200 connections"):
        half = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 4000) for number in range(15))
        await all_of((trickle(subject.port, head + half, b"", 1, 10) for _ in range(200)), 200)
    async with under(subject, check, "chunks of one byte, 20 connections"):
        crumbs = chunks.replace(b"s3", b"s4") + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"
        heard = await all_of((exchange(subject.port, [crumbs], answers=1, patience=30) for _ in range(20)), 20)
    check(all(answer.statuses == [200] for answer in heard), "chunks of one byte are slow, not wrong")
    await slowhttptest(subject, check)


async def slowhttptest(subject, check):
    program = shutil.which("slowhttptest")
    check(program, "slowhttptest is there")
    if not program:
        return
    url = f"http://127.0.0.1:{subject.port}/c/s9"
    for name, arguments in (
        ("slow headers", ["-H", "-i", "1"]), ("slow body", ["-B", "-i", "2", "-s", "8192"]),
        ("slow read", ["-X", "-w", "1", "-y", "10", "-n", "2", "-z", "4", "-k", "3"]),
    ):
        async with under(subject, check, f"slowhttptest, {name}"):
            command = [program, *arguments, "-c", "400", "-r", "200", "-l", "12", "-p", "3", "-u", url]
            run = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            output, _ = await run.communicate()
        plain = re.sub(rb"\x1b\[[0-9;]*m", b"", output).decode(errors="replace")
        available = re.findall(r"service available:\s+(\w+)", plain)
        check(available and "NO" not in available, f"slowhttptest, {name}: the service was {set(available)}")
