"""Runs the proof: `main.py BINARY FOLDER`, or `main.py --subject PORT --origin PORT FOLDER` for a door that runs already.

`--only corpus,readers,http2` runs some of it, `--only abuse` slow clients and floods. Prints what it finds, and ends with a status that says whether all
was as it must be.
"""

import argparse
import asyncio
import logging
import sys
from collections import Counter, defaultdict
from urllib.parse import unquote_to_bytes

import attacks
import http2
from client import all_of, exchange
from corpus import corpus
from reading import Malformed, read_all, read_by_h11
from readers import H11, readers
from subject import Subject

CHECKS = []


def check(fine, what):
    """Notes a check; says what failed."""
    CHECKS.append(bool(fine))
    if not fine:
        print(f"  FAILED {what}", flush=True)
    return fine


def pieces(case, way):
    if way == "whole":
        return [case.data]
    if way == "split":
        ends = [0, *case.splits, len(case.data)]
        return [case.data[start:end] for start, end in zip(ends, ends[1:]) if end > start]
    # The first bytes one by one; the kernel may join some of them again.
    return [case.data[at : at + 1] for at in range(min(len(case.data), 100))] + [case.data[100:]] * (len(case.data) > 100)


async def send(subject, case, way):
    methods = [request.method for request in read_all(case.data)] if not case.refused else [b"GET"]
    if case.refused and case.data.startswith(b"HEAD "):
        methods = [b"HEAD"]
    answers = case.expect if not case.refused and not case.cut else None
    # What only the path is wrong with is refused like anything else at the door, and the connection stays.
    if case.row.startswith("path "):
        answers = 1
    return await exchange(subject.port, pieces(case, way), methods, answers=answers, cut=case.cut)


def judge(case, way, heard, arrived):
    """Says what was wrong with a case, if anything."""
    if case.cut and not case.refused:
        return None if len(arrived) <= case.expect else f"{len(arrived)} requests arrived of one that was cut off"
    if len(arrived) != case.expect:
        return f"{len(arrived)} requests arrived, not {case.expect}: {[request.reading() for request in arrived]}"
    if not case.refused:
        expected = [request.reading() for request in read_all(case.data)]
        if [request.reading() for request in arrived] != expected:
            return f"it was changed: {[request.reading() for request in arrived]} for {expected}"
        return None if heard.statuses == [200] * case.expect else f"the answers {heard.statuses}, {heard.data[:80]!r}"
    if case.cut:
        return None
    *before, last = heard.statuses or [0]
    if before != [200] * case.expect or last not in case.statuses or not heard.problems or not (heard.closed or case.row.startswith("path ")):
        return f"the answers {heard.statuses}, {'closed' if heard.closed else 'open'}, {heard.problems} problems"
    return None


async def run_corpus(subject, wrong, right):
    print(f"corpus: {len(wrong.all)} requests that are wrong ({wrong.distinct} distinct), {len(right.all)} that are right ({right.distinct})")
    check(wrong.distinct >= 1000 and right.distinct >= 200, "the corpus is large enough")
    for way in ("whole", "split", "bytes"):
        subject.recorder.forget()
        cases = wrong.all + right.all
        heard = await all_of(send(subject, case, way) for case in cases)
        await asyncio.sleep(0.3)
        failures = Counter()
        for number, (case, answer) in enumerate(zip(cases, heard)):
            key = f"r{number}" if number < len(wrong.all) else f"a{number - len(wrong.all)}"
            problem = judge(case, way, answer, subject.recorder.requests.get(key, []))
            if not check(not problem, f"{case.name} ({way}): {problem}") and not problem:
                failures[case.row] += 1
        recorder = subject.recorder
        check(not recorder.malformed, f"({way}) the origin was sent what it cannot read: {recorder.malformed[:3]}")
        check(not recorder.unknown, f"({way}) requests of nobody: {[request.target for request in recorder.unknown[:5]]}")
        check_h11(recorder, way)
        statuses = Counter(status for answer in heard for status in answer.statuses)
        print(f"  {way}: {len(cases)} connections, answers {dict(sorted(statuses.items()))}", flush=True)


def check_h11(recorder, way):
    """h11 reads the same from the origin's bytes; what is cut off at the end of a connection does not count."""
    for log in recorder.connections:
        try:
            own = [request.reading() for request in read_all(bytes(log))]
        except Malformed as error:
            check(False, f"({way}) {error}")
            continue
        heard = [request.reading() for request in read_by_h11(bytes(log))]
        check(heard == own, f"({way}) h11 reads {len(heard)} requests, not {len(own)}, in {bytes(log[:200])!r}")


async def run_readers(subject, wrong, right, folder):
    """Where others differ from each other, Portico must refuse."""
    found, missing = readers()
    print(f"readers: {', '.join(reader.name for reader in found)}, h11{'; missing: ' if missing else ''}{', '.join(missing)}")
    check(not missing, "all readers are there")
    subject.recorder.forget()
    cases = [(f"r{number}", case) for number, case in enumerate(wrong.all)] + [(f"a{number}", case) for number, case in enumerate(right.all)]
    for reader in found:
        await reader.start(folder)
        await all_of((exchange(reader.port, [case.data], quiet=0.5, patience=3, cut=case.cut) for _, case in cases), at_once=64)
        await asyncio.sleep(0.5)
        await reader.stop()
    h11 = H11()
    for key, case in cases:
        h11.take(key, case.data)
    await all_of(exchange(subject.port, [case.data], quiet=3, patience=6, cut=case.cut) for _, case in cases)
    await asyncio.sleep(0.3)
    report(subject, cases, [*found, h11])


def report(subject, cases, found):
    """Prints, for each row, how often the readers differ and how many requests each has read."""
    names = [reader.name for reader in found]
    rows = defaultdict(lambda: {"cases": 0, "differ": 0, "ours": 0, "read": Counter()})
    examples = {}
    for key, case in cases:
        row = rows[("wrong: " if key.startswith("r") else "right: ") + case.row]
        readings = {reader.name: tuple((method, unquote_to_bytes(path), body) for method, path, body in reader.read(key)) for reader in found}
        ours = tuple((method, unquote_to_bytes(path), body) for method, path, body in map(lambda request: request.reading(), subject.recorder.requests.get(key, ())))
        row["cases"] += 1
        row["ours"] += len(ours)
        for name in names:
            row["read"][name] += len(readings[name])
        # Who refuses has not read otherwise; who reads must read the same.
        different = {reading for reading in readings.values() if reading}
        if len(different) > 1:
            row["differ"] += 1
            common = min(different, key=len)
            agreed = all(reading[: len(common)] == common for reading in different)
            fine = not ours or (agreed and ours == common)
            check(fine, f"{case.name}: servers differ, and Portico let it through: {ours}")
            if key.startswith("a"):
                examples[case.name] = {name: [f"{reading[0].decode()} {reading[1][:40].decode('latin-1')} +{len(reading[2])}" for reading in readings[name]] for name in names}
    width = max(len(row) for row in rows)
    print(f"  {'row':{width}} cases differ portico " + " ".join(f"{name:>8}" for name in names))
    for name, row in rows.items():
        print(f"  {name:{width}} {row['cases']:5} {row['differ']:6} {row['ours']:7} " + " ".join(f"{row['read'][other]:8}" for other in names))
    total = sum(row["differ"] for row in rows.values())
    print(f"  servers differ in {total} cases; of what is right by RFC 9112: {len(examples)}")
    for name, readings in list(examples.items())[:40]:
        print(f"    {name}: {readings}")


async def run():
    parser = argparse.ArgumentParser()
    parser.add_argument("--subject", type=int, default=0)
    parser.add_argument("--origin", type=int, default=0)
    parser.add_argument("--only", default="corpus,readers,http2")
    parser.add_argument("words", nargs="+")
    given = parser.parse_args()
    folder = given.words[-1]
    # Who floods is cut off; asyncio would say so for every piece.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    subject = await Subject().start(given.words[0], folder, given.subject, given.origin)
    wrong, right = corpus()
    only = given.only.split(",")
    try:
        if "corpus" in only:
            await run_corpus(subject, wrong, right)
        if "readers" in only:
            await run_readers(subject, wrong, right, folder)
        if "http2" in only:
            await http2.run(subject, check)
        if "abuse" in only:
            await attacks.run(subject, check)
        check(subject.alive(), "Portico is still there")
    finally:
        await subject.stop()
    print(f"{sum(CHECKS)} of {len(CHECKS)} checks passed")
    return 0 if all(CHECKS) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
