"""The inventory on real data: 6,919 purchases as movements of 50 items, through HTTP, concurrently and by import; then what
the server says of them against an independent computation. Its input is JSON: base, token, engine, data."""

import collections
import csv
import io
import json
import sys
import time
from datetime import date, datetime, timedelta, timezone

from standardwebhooks.webhooks import Webhook

import sales as facts
from door import Door, together
from sales import ITEMS, OPENED, SPARE, Window, near, sku

THREADS = 16


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def say(self, name, good, why=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
        print(f"ok {name}" if good else f"FAIL {name}: {why}", flush=True)

    def equal(self, name, given, wanted):
        self.say(name, given == wanted, f"{str(given)[:300]} instead of {str(wanted)[:300]}")

    def figures(self, name, given, wanted):
        """Compares the named figures; those that are no whole numbers to six decimals."""
        off = {
            key: (given.get(key), str(value))
            for key, value in wanted.items()
            if not (given.get(key) == value if isinstance(value, (int, str)) else near(given.get(key), value))
        }
        self.say(name, not off, off)


class Progress:
    """A bar on the terminal; elsewhere a line now and then."""

    def __init__(self, what):
        self.what, self.shown, self.began = what, -1, time.monotonic()

    def at(self, done, of):
        part = done * 100 // max(of, 1)
        terminal = sys.stderr.isatty()
        if part == self.shown or (not terminal and part // 25 == self.shown // 25 and self.shown >= 0):
            return
        self.shown = part
        seconds = time.monotonic() - self.began
        bar = "#" * (part * 40 // 100)
        line = f"{self.what:<34} [{bar:<40}] {part:3} % {done}/{of} {seconds:5.1f} s"
        print(f"\r{line}" if terminal else line, end="\n" if not terminal or done >= of else "", file=sys.stderr, flush=True)


def stock_by_hand(door, sales, name):
    """Creates the items one after the other, and makes all movements at once."""
    out, paths = facts.totals(sales), {}
    for item in range(ITEMS):
        body = {"sku": sku(item), "name": f"Disc {item}", "unitCost": 100 + item, "lowStockLevel": 5}
        _, headers = door.call("POST", "/api/inventory", body, want=201)
        paths[item] = headers["location"]
        opening = {"delta": out[item] + SPARE, "reason": "opening", "occurredAt": f"{OPENED}T12:00:00Z"}
        door.post(f"{paths[item]}/adjust", opening)

    def move(sale):
        at = f"{sale.day}T00:00:00Z"
        body = {"delta": -sale.quantity, "reason": "sold", "occurredAt": at, "amount": sale.cents}
        door.post(f"{paths[sale.item]}/adjust", body)

    began = time.monotonic()
    together(move, THREADS, sales, Progress(f"{name}, {THREADS} connections"))
    return time.monotonic() - began


def written(header, rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()


def import_file(door, query, body, what, media_type="text/csv"):
    """Sends a file, waits for its end, and gives the import and its errors."""
    taken, headers = door.call("POST", f"/api/inventory/import?{query}", body, want=202, media_type=media_type)
    assert headers["location"] == f"/api/tasks/{taken['taskId']}", headers
    task = door.finish(taken["taskId"], Progress(what))
    done = door.get(f"/api/inventory/imports/{taken['importId']}")
    errors = door.get(f"/api/inventory/imports/{taken['importId']}/errors")["items"]
    return task, done, errors


def stock_by_import(checks, door, sales, name):
    out = facts.totals(sales)
    items = written(["name", "sku", "unitCost", "lowStockLevel"], [[f"Disc {n}", sku(n), 100 + n, 5] for n in range(ITEMS)])
    _, done, errors = import_file(door, "kind=items", items, f"{name}: items")
    checks.equal(f"{name}: items are imported", (done["applied"], done["failed"], errors), (ITEMS, 0, []))
    opening = [[sku(n), out[n] + SPARE, "opening", str(OPENED), ""] for n in range(ITEMS)]
    moved = [[sku(sale.item), -sale.quantity, "sold", str(sale.day), sale.cents] for sale in sales]
    header = ["sku", "delta", "reason", "occurredAt", "amount"]
    file = written(header, opening + moved)
    _, dry, errors = import_file(door, "kind=movements&dryRun=true", file, f"{name}: dry run")
    checks.equal(f"{name}: a dry run finds nothing wrong", (dry["applied"], dry["failed"], errors), (len(sales) + ITEMS, 0, []))
    lines = door.get("/api/inventory/export/logs")
    checks.equal(f"{name}: and moves nothing", lines, [])
    began = time.monotonic()
    task, done, errors = import_file(door, "kind=movements", file, f"{name}: movements")
    seconds = time.monotonic() - began
    checks.equal(f"{name}: movements are imported", (done["applied"], done["failed"], errors), (len(sales) + ITEMS, 0, []))
    checks.equal(f"{name}: the task says so", (task["state"], task["result"]["applied"]), ("done", len(sales) + ITEMS))
    wrong = written(header, [["CD-00", -10**6, "sold", "", ""], ["nothing", 1, "received", "", ""], ["CD-00", "1.5", "lost", "1997-02-30", ""]])
    _, done, errors = import_file(door, "kind=movements", wrong, f"{name}: wrong rows")
    found = {(error["line"], error["column"], error["code"].removeprefix("inventory.")) for error in errors}
    wanted = {
        (2, "delta", "insufficient_stock"),
        (3, "sku", "import_no_such_item"),
        (4, "delta", "import_invalid_value"),
        (4, "reason", "import_invalid_value"),
        (4, "occurredAt", "import_invalid_value"),
    }
    checks.equal(f"{name}: wrong rows are named and left out", (found, done["applied"]), (wanted, 0))
    return seconds


def ledger(door):
    """Reads the exported ledger as CSV, as any reader of CSV would."""
    text, _ = door.call("GET", "/api/inventory/export/logs?format=csv")
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def balances(checks, door, sales, name):
    """Totals of each item and of each day agree with the file, and ten of each item are left."""
    found, lines = collections.defaultdict(lambda: (0, 0, 0)), ledger(door)
    sums = collections.Counter()
    for line in lines:
        sums[line["sku"]] += int(line["delta"])
        if line["reason"] == "sold":
            key = int(line["sku"][3:]), date.fromisoformat(line["occurredAt"][:10])
            units, cents, count = found[key]
            found[key] = (units - int(line["delta"]), cents + int(line["amount"]), count + 1)
    wanted = facts.by_day(sales)
    checks.equal(f"{name}: the ledger has every line", len(lines), len(sales) + ITEMS)
    checks.equal(f"{name}: units, cents and lines of each item on each day", dict(found), wanted)
    by_item = collections.Counter()
    for (item, _), (units, _, _) in found.items():
        by_item[item] += units
    checks.equal(f"{name}: units of each item", by_item, facts.totals(sales))
    stock = {item["sku"]: item["quantity"] for item in door.get("/api/inventory/export/inventory")}
    checks.equal(f"{name}: {SPARE} of each item are left", stock, {sku(n): SPARE for n in range(ITEMS)})
    checks.equal(f"{name}: stock is the sum of the ledger", dict(sums), stock)


def analytics(checks, door, sales, name):
    """Summary, trending and top of several windows against the independent computation."""
    deadline, whole = time.monotonic() + 120, f"from={OPENED}&to=1998-12-31"
    while True:
        summary = door.get(f"/api/analytics/inventory/summary?{whole}")
        if summary["movements"] >= len(sales) + ITEMS and not summary["asOf"]["lagging"]:
            break
        assert time.monotonic() < deadline, f"the projections do not get there: {summary}"
        time.sleep(0.1)
    windows = [
        Window(sales, date(1997, 1, 1), date(1998, 6, 30)),
        Window(sales, date(1997, 3, 1), date(1997, 3, 30)),
        Window(sales, date(1997, 1, 1), date(1997, 12, 31)),
        Window(sales, date(1998, 1, 7), date(1998, 1, 7)),
    ]
    for window in windows:
        where = f"{name}, {window.first} to {window.last}"
        checks.figures(f"{where}: summary", door.get(f"/api/analytics/inventory/summary?{window.query()}"), window.summary())
        for by in ("quantity", "value", "velocity"):
            given = door.get(f"/api/analytics/inventory/top?{window.query()}&by={by}&limit=20")
            rows(checks, f"{where}: top by {by}", given["items"], window.top(by, 20))
        step, wanted = window.trending(20)
        given = door.get(f"/api/analytics/inventory/trending?{window.query()}&limit=20")
        checks.equal(f"{where}: days a point", given["bucketDays"], step)
        rows(checks, f"{where}: trending by Theil and Sen", given["items"], wanted)


def rows(checks, name, given, wanted):
    if [row["sku"] for row in given] != [row["sku"] for row in wanted]:
        checks.equal(name, [row["sku"] for row in given], [row["sku"] for row in wanted])
        return
    off = []
    for got, want in zip(given, wanted):
        for key, value in want.items():
            same = got[key] == value if value is None or isinstance(value, (int, str)) else near(got[key], value)
            if not same:
                off.append((got["sku"], key, got[key], str(value)))
    checks.say(name, not off, off[:5])


def moved_on(checks, source, target, name):
    """What one organisation exports another one imports, and has the same items and balances then."""
    for format, media_type in (("csv", "text/csv"), ("json", "application/json")):
        door = target[format]
        items, _ = source.send("GET", f"/api/inventory/export/inventory?format={format}")[2], None
        lines = source.send("GET", f"/api/inventory/export/logs?format={format}")[2]
        what = f"{name} as {format}"
        _, done, _ = import_file(door, "kind=items&stock=keep", items, f"{what}: items", media_type)
        checks.equal(f"{what}: items", (done["applied"], done["failed"], done["complete"]), (ITEMS, 0, True))
        _, done, _ = import_file(door, "kind=movements", lines, f"{what}: movements", media_type)
        checks.equal(f"{what}: movements", (done["failed"], done["complete"]), (0, True))
        own = {"id", "version", "createdAt", "updatedAt"}
        plain = lambda of: sorted(
            json.dumps({key: value for key, value in item.items() if key not in own}, sort_keys=True)
            for item in of.get("/api/inventory/export/inventory")
        )
        checks.equal(f"{what}: the same items and balances", plain(door), plain(source))
        kept = ("sku", "delta", "reason", "note", "occurredAt", "amount", "reference")
        shown = lambda of: [tuple(line[key] for key in kept) for line in ledger(of)]
        checks.equal(f"{what}: the same ledger in the same order", shown(door), shown(source))


def laboratory(checks, door, base, name):
    """A result signed with a library of Standard Webhooks that others wrote."""
    item = door.get("/api/inventory?sku=CD-07")["items"][0]["id"]
    batch = door.post("/api/inventory/batches", {"itemId": item, "code": "L-1", "quantity": 5}, want=201)
    key = door.post("/api/inventory/qc-keys", {"name": "Camera line"}, want=201)
    lab = Door(base)

    def post(body, message, secret=key["secret"], at=None):
        now = at or datetime.now(timezone.utc)
        text = json.dumps(body)
        signed = Webhook(secret).sign(message, now, text)
        headers = {"webhook-key-id": key["id"], "webhook-id": message, "webhook-timestamp": str(int(now.timestamp()))}
        status, _, answer = lab.send("POST", "/api/webhooks/qc", text, headers=headers | {"webhook-signature": signed})
        answer = json.loads(answer)
        return status, answer.get("data") or {}, (answer.get("error") or {}).get("code")

    result = {"batchId": batch["id"], "result": "passed", "grade": "A"}
    first = post(result, "msg_1")
    checks.equal(f"{name}: a signed result is taken", (first[0], bool(first[1].get("duplicate"))), (200, False))
    shown = door.get(f"/api/inventory/batches/{batch['id']}")
    checks.equal(f"{name}: and is the batch's", (shown["qcState"], shown["qcGrade"]), ("passed", "A"))
    again = post(result, "msg_1")
    checks.equal(f"{name}: a replay is a duplicate", (again[0], again[1].get("duplicate")), (200, True))
    other = post(result | {"grade": "B"}, "msg_1")
    checks.equal(f"{name}: another body under its id is refused", other[::2], (409, "inventory.webhook_id_reused"))
    forged = post(result, "msg_2", secret="whsec_" + "A" * 43 + "=")
    checks.equal(f"{name}: a wrong secret is refused", forged[::2], (401, "inventory.invalid_signature"))
    old = post(result, "msg_3", at=datetime.now(timezone.utc) - timedelta(minutes=6))
    checks.equal(f"{name}: an old signature is refused", old[::2], (401, "inventory.invalid_signature"))


def organisation(base, name):
    """Registers somebody with an organisation of their own."""
    body = {
        "email": f"{name}@example.org", "password": "seven otters juggle blue lamps", "name": "Ada",
        "organizationName": name,
    }
    signed_in, _ = Door(base).call("POST", "/api/auth/register", body, want=201)
    return Door(base, signed_in["accessToken"])


def main():
    given = json.load(sys.stdin)
    base, name, checks = given["base"], given["engine"], Checks()
    sales = facts.read(given["data"]) if given["data"] else facts.made()
    if not given["data"]:
        print("note skipped: the file with CDNOW's purchases is not there; made ones of the same shape stand in", flush=True)
    door = Door(base, given["token"])
    seconds = stock_by_hand(door, sales, f"{name}: adjust")
    print(f"note {name}: {len(sales)} adjustments over {THREADS} connections in {seconds:.1f} s", flush=True)
    balances(checks, door, sales, name)
    analytics(checks, door, sales, name)
    imported = organisation(base, "imported")
    seconds = stock_by_import(checks, imported, sales, f"{name}, import")
    print(f"note {name}: {len(sales) + ITEMS} movements imported in {seconds:.1f} s", flush=True)
    balances(checks, imported, sales, f"{name}, import")
    analytics(checks, imported, sales, f"{name}, import")
    copies = {"csv": organisation(base, "copy-csv"), "json": organisation(base, "copy-json")}
    moved_on(checks, door, copies, f"{name}, re-import")
    laboratory(checks, door, base, f"{name}, laboratory")
    print(json.dumps({"passed": checks.passed, "failed": checks.failed}), flush=True)
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
