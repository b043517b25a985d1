"""The corpus: the same cases every time. Run by itself it says how many there are of each row."""

from collections import Counter

import accepted
import refused
import refused_words
from case import Cases


def corpus():
    """Returns the cases that must be refused (or end), and those that must pass."""
    wrong, right = Cases("r"), Cases("a")
    for row in (*refused.ROWS, *refused_words.ROWS):
        row(wrong)
    for row in accepted.ROWS:
        row(right)
    # The same bytes under another name prove nothing; but for the path, which holds the number.
    for cases in (wrong, right):
        plain = Counter(case.data.replace(b"/c/%s%d" % (cases.prefix.encode(), number), b"/c/").replace(
            b"smuggled-%s%d" % (cases.prefix.encode(), number), b"smuggled") + bytes(case.cut) for number, case in enumerate(cases.all))
        cases.distinct = len(plain)
    return wrong, right


if __name__ == "__main__":
    for name, cases in zip(("refused", "accepted"), corpus()):
        print(f"{name}: {len(cases.all)} cases, {cases.distinct} distinct")
        for row, count in Counter(case.row for case in cases.all).items():
            print(f"  {count:5} {row}")
