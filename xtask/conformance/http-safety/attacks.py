"""Slow clients and floods: they end, honest requests are answered meanwhile, and memory stays bounded."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import floods
from case import HOST
from client import all_of, exchange
from http2 import ask, plain

# How much more memory the server may hold, during and after an attack and after all of them; allocators keep some.
MOST_KIB = 48 * 1024
# How long an honest client waits, and how many attack at a time, for how long.
PATIENCE, SECONDS, CONNECTIONS = 5, 6, 8
MANY = {"idle connections, HTTP/1.1": 2000, "idle connections, HTTP/2": 1000, "header block without end": 300, "answers not read, HTTP/1.1": 100}
# What a connection may hold that is let be: its own buffers; and those of an answer that is not read, and of where that comes from.
HELD_KIB = {"idle connections, HTTP/1.1": 32, "idle connections, HTTP/2": 32, "answers not read, HTTP/1.1": 640}
# From an address of its own: what the server counts by address is the attacker's.
HONEST, ATTACKER = "127.0.0.3", floods.ADDRESS
GET = b"GET /c/h1 HTTP/1.1\r\nHost: " + HOST + b"\r\nConnection: close\r\n\r\n"
POST = b"POST /c/h2 HTTP/1.1\r\nHost: " + HOST + b"\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
ROWS = []


async def by_get(port):
    return (await exchange(port, [GET], answers=1, patience=PATIENCE, own=HONEST)).statuses


async def by_post(port):
    return (await exchange(port, [POST], answers=1, patience=PATIENCE, own=HONEST)).statuses


async def by_http2(port):
    return [await asyncio.wait_for(ask(port, plain(b"/c/h3"), own=HONEST), PATIENCE)]


def most(name):
    """Returns how much more memory an attack may take."""
    return MOST_KIB + HELD_KIB.get(name, 0) * MANY.get(name, 0)


@asynccontextmanager
async def under(subject, check, name):
    """Asks honestly as long as the attack goes on, and says what it did to the memory."""
    before, began, took, others = subject.memory("VmRSS"), time.monotonic(), [], Counter()
    subject.forget_peak()
    subject.recorder.forget()
    going = True

    async def honest(way):
        while going:
            start = time.monotonic()
            try:
                answer = await way(subject.port)
            except (OSError, asyncio.TimeoutError) as error:
                answer = type(error).__name__
            took.append(time.monotonic() - start)
            if answer != [200]:
                others[f"{way.__name__} {answer}"] += 1
            await asyncio.sleep(0.1)

    asking = [asyncio.ensure_future(honest(way)) for way in (by_get, by_post, by_http2)]
    notes = {}
    try:
        yield notes
    finally:
        going = False
        await asyncio.gather(*asking)
    peak, after = subject.memory("VmHWM"), subject.memory("VmRSS")
    took.sort()
    failed, median, slowest = sum(others.values()), took[len(took) // 2] * 1000, took[-1] * 1000
    ROWS.append((name, notes.get("sent", ""), time.monotonic() - began, len(took), failed, median, slowest, before, peak, after))
    print(f"  {name}: {ROWS[-1][2]:.1f} s{notes.get('sent') and ', ' + notes['sent'] or ''}; {len(took) - failed} of {len(took)} honest requests answered, "
          f"in {median:.0f} ms, at most {slowest:.0f} ms; memory {before} KiB before, {peak} at most, {after} after", flush=True)
    check(not others, f"{name}: honest requests are answered, not {dict(others)}")
    check(max(peak, after) - before < most(name), f"{name}: memory is bounded")


async def trickle(port, head, piece, every, patience):
    """Sends a piece every so often; returns how long the server took part in it."""
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(ATTACKER, 0))
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
    first = subject.memory("VmRSS")
    await slow_clients(subject, check)
    await slowhttptest(subject, check)
    await all_floods(subject, check)
    last = subject.memory("VmRSS")
    print(f"  memory before all of it {first} KiB, after all of it {last} KiB")
    check(last - first < MOST_KIB + sum(HELD_KIB[name] * MANY[name] for name in HELD_KIB), "memory is bounded over all attacks")
    report()


async def slow_clients(subject, check):
    print("slow clients:")
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
        heard = await all_of((exchange(subject.port, [head + flood], quiet=5, patience=15, own=ATTACKER) for _ in range(400)), 40)
    check(all(431 in answer.statuses or answer.closed for answer in heard), "a flood of headers is refused")
    async with under(subject, check, "half heads of 60 KiB, 200 connections"):
        half = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 4000) for number in range(15))
        await all_of((trickle(subject.port, head + half, b"", 1, 10) for _ in range(200)), 200)
    async with under(subject, check, "chunks of one byte, 20 connections"):
        crumbs = chunks.replace(b"s3", b"s4") + b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"
        heard = await all_of((exchange(subject.port, [crumbs], answers=1, patience=30, own=ATTACKER) for _ in range(20)), 20)
    check(all(answer.statuses == [200] for answer in heard), "chunks of one byte are slow, not wrong")


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


async def all_floods(subject, check):
    print(f"floods, {SECONDS} s each, by clients that come back as soon as they are cut off:")
    for name in (*floods.FLOODS, *floods.SILENCES):
        connections = MANY.get(name, CONNECTIONS)
        async with under(subject, check, name) as notes:
            command = [sys.executable, Path(floods.__file__), str(subject.port), name, str(SECONDS), str(connections)]
            attacker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            output, _ = await attacker.communicate()
            sent = json.loads(output)
            notes["sent"] = f"{sent['connections']} connections, {sent['steps']} steps, {sent['ended']} cut off"
        # Other streams, and silence for a while, are what a client may do; the rest ends the connection.
        if name in floods.FLOODS and name != "stream flood" or name == "answers not read, HTTP/2":
            check(sent["ended"] >= connections, f"{name}: the connections are ended, not {sent}")
        check(sent["connections"] >= connections, f"{name}: the attack took place")


def report():
    """Prints what was measured as the table that docs/conformance.md has."""
    print("| attack | attacker | honest requests | failed | median, slowest ms | memory before, peak, after MiB |\n|---|---|---|---|---|---|")
    for name, sent, _, asked, failed, median, slowest, *memory in ROWS:
        print(f"| {name} | {sent} | {asked} | {failed} | {median:.0f}, {slowest:.0f} | {', '.join(f'{kib / 1024:.0f}' for kib in memory)} |")
