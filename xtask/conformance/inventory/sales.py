"""The purchases that are imported: CDNOW's, or made ones of the same shape where that file is not there. And what follows
from them, worked out anew with the standard library: nothing here asks the server. Not for sending anything."""

import collections
import csv
import datetime
import random
import statistics
from fractions import Fraction

ITEMS = 50
SPARE = 10
OPENED = datetime.date(1996, 12, 31)

Sale = collections.namedtuple("Sale", "item day quantity cents")


def read(path):
    """Reads CDNOW's file: customer, day, quantity, dollars; the item is the customer modulo 50."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    day = lambda text: datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    return [
        Sale(int(row["customer_id"]) % ITEMS, day(row["date"]), int(row["qty"]), int(Fraction(row["amount"]) * 100))
        for row in rows
    ]


def made():
    """Makes purchases of the same shape, the same ones in every run."""
    dice, first, sales = random.Random(5), datetime.date(1997, 1, 1), []
    for _ in range(6919):
        quantity = 1 + min(int(dice.expovariate(0.6)), 39)
        day = first + datetime.timedelta(days=min(int(dice.expovariate(1 / 120)), 545))
        sales.append(Sale(int(dice.triangular(0, 2356, 400)) % ITEMS, day, quantity, quantity * dice.randint(599, 2999)))
    return sales


def sku(item):
    return f"CD-{item:02}"


def totals(sales):
    """Units out by item."""
    out = collections.Counter()
    for sale in sales:
        out[sale.item] += sale.quantity
    return out


def by_day(sales):
    """Units, cents and lines by item and day."""
    found = collections.defaultdict(lambda: (0, 0, 0))
    for sale in sales:
        units, cents, lines = found[sale.item, sale.day]
        found[sale.item, sale.day] = (units + sale.quantity, cents + sale.cents, lines + 1)
    return dict(found)


def near(given, wanted):
    """Says whether a number of the server's, of six decimals, is this one."""
    if given is None or wanted is None:
        return given is wanted
    return abs(Fraction(str(given)) - Fraction(wanted)) <= Fraction(6, 10_000_000)


class Window:
    """Figures over the days from one to another, both too."""

    def __init__(self, sales, first, last):
        self.first, self.last, self.all = first, last, sales
        self.days = (last - first).days + 1
        self.sales = [sale for sale in sales if first <= sale.day <= last]
        self.units, self.cents = collections.Counter(), collections.Counter()
        for sale in self.sales:
            self.units[sale.item] += sale.quantity
            self.cents[sale.item] += sale.cents
        self.out = sum(self.units.values())

    def query(self):
        return f"from={self.first}&to={self.last}"

    def stock_at_end_of(self, day):
        """Units of all items at the end of a day: what was opened with, less what went out until then."""
        opened = sum(totals(self.all).values()) + ITEMS * SPARE
        return opened - sum(sale.quantity for sale in self.all if sale.day <= day)

    def summary(self):
        on_hand = ITEMS * SPARE
        days = [self.first + datetime.timedelta(days=number) for number in range(self.days)]
        stock_days = sum(self.stock_at_end_of(day) for day in days)
        return {
            "movements": len(self.sales),
            "unitsOut": self.out,
            "amountOut": sum(self.cents.values()),
            "unitsIn": 0,
            "unitsCorrected": 0,
            "unitsOutWithoutAmount": 0,
            "unitsOnHand": on_hand,
            "liveItems": ITEMS,
            "outOfStock": 0,
            "deadStock": sum(1 for item in range(ITEMS) if not self.units[item]),
            "turnsPerYear": Fraction(self.out * 365, stock_days),
            "daysOfCover": Fraction(on_hand * self.days, self.out) if self.out else None,
        }

    def top(self, by, limit):
        """Ranks items; the items' ids are in the order of their numbers."""
        measure = self.cents if by == "value" else self.units
        ranked = sorted((item for item in range(ITEMS) if self.units[item]), key=lambda item: (-measure[item], item))
        today = datetime.datetime.now(datetime.timezone.utc).date()
        lasts = lambda item: datetime.timedelta(days=SPARE * self.days // self.units[item])
        return [
            {
                "sku": sku(item),
                "quantity": SPARE,
                "unitsOut": self.units[item],
                "amountOut": self.cents[item],
                "share": Fraction(self.units[item], self.out),
                "unitsPerDay": Fraction(self.units[item], self.days),
                "stockOutOn": str(today + lasts(item)) if lasts(item).days <= 36_500 else None,
            }
            for item in ranked[:limit]
        ]

    def trending(self, limit):
        """Ranks items by Theil and Sen's slope of their demand by day, or by week in a long window."""
        step = 7 if self.days > 400 else 1
        points = self.days // step
        ranked = []
        for item in (item for item in range(ITEMS) if self.units[item]):
            series = [0] * points
            for sale in (sale for sale in self.sales if sale.item == item):
                before = (self.last - sale.day).days // step
                if before < points:
                    series[points - 1 - before] += sale.quantity
            slopes = [
                Fraction(series[late] - series[early], late - early)
                for early in range(points)
                for late in range(early + 1, points)
            ]
            slope = round(statistics.median(slopes) / step**2, 6) if slopes else Fraction(0)
            ranked.append((-slope, -self.units[item], item))
        ranked.sort()
        return step, [
            {
                "sku": sku(item),
                "unitsOut": -units,
                "share": Fraction(-units, self.out),
                "slope": -slope,
                "direction": "up" if slope < 0 else "down" if slope > 0 else "flat",
            }
            for slope, units, item in ranked[:limit]
        ]
