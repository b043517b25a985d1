"""What the suite knows of this API that an OpenAPI document cannot say.

For: judging refusals of data that keeps the document, by their stable codes; asking for what exists; coming from many
addresses; and counting what was answered. Not for which operations run and with whose token: xtask decides that.
"""

import itertools
import json
import os
import re
from collections import Counter, defaultdict, deque

import schemathesis
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Rules that no schema can say. Each entry: the code of the problem, a word of its text where the code alone says
# too little, and why the document cannot say it.
BEYOND_THE_SCHEMA = [
    ("request.invalid_cursor", "", "a cursor is opaque: only what a page gave is one"),
    ("request.version_mismatch", "", "If-Match is about the present version"),
    ("request.version_required", "", "a header that one member of the body asks for"),
    ("request.idempotency_key_reused", "", "whether a key was used is history"),
    ("request.invalid_body", "send email and password, or code", "which members go together"),
    ("request.invalid_body", "is not a permission that you have", "a matter of the caller's role"),
    ("request.invalid_body", "currentPassword", "needed by who has a password"),
    ("request.invalid_body", "is reserved", "the list of short names nobody may have"),
    ("request.invalid_body", "must be an IANA time zone", "the list of time zones"),
    ("request.invalid_body", "must not be when they begin", "quiet hours of no length"),
    ("request.invalid_body", "one rule at most for a type and a channel", "unique by two members of many"),
    ("request.invalid_body", "must be within the last", "a moment that is counted from now"),
    ("identity.weak_password", "", "how easily something is guessed"),
    ("identity.wrong_password", "", "the present password"),
    ("notifications.invalid_token", "", "only a letter carries the token"),
    ("request.invalid_body", "at least one measurement is needed", "which members go together"),
    ("request.invalid_body", "must say why the stock changes", "which members go together"),
    ("request.invalid_body", "\"name\", \"message\": \"is needed\"", "needed by who has no account yet"),
    ("request.invalid_body", "must not be later than now", "a moment that is counted from now"),
    ("request.invalid_query", "must not be after `to`", "one day against another"),
    ("request.invalid_query", "days before `to`", "one day against another"),
    ("request.invalid_body", "must be later than", "a moment that is counted from now, or from another"),
    ("request.invalid_query", "must be up to 50", "a list in one text"),
    ("request.upgrade_required", "", "a handshake, not a request"),
    ("request.invalid_body", "invalid type: floating point", "JSON Schema takes 1.0 for a whole number; here it is none"),
    ("request.invalid_body", "send either", "which members go together"),
    ("events.invalid_event_id", "", "an id is opaque: only what the stream gave is one"),
    ("inventory.import_columns", "", "a file, not a document of this API"),
    ("inventory.import_invalid_file", "", "a file, not a document of this API"),
    ("webhooks.url_refused", "", "what is a public address, and the installation's own rules"),
]


def _rule_beyond_the_schema(response):
    try:
        problem = json.loads(response.content)
    except ValueError:
        return False
    # Some groups of routes put the problem into a shape of their own.
    shaped = problem.get("error") if isinstance(problem, dict) else None
    problem = shaped if isinstance(shaped, dict) else problem
    if not isinstance(problem, dict):
        return False
    text = json.dumps(problem, ensure_ascii=False)
    return any(problem.get("code") == code and word in text for code, word, _ in BEYOND_THE_SCHEMA)


@schemathesis.check
def valid_data_acceptance(ctx, response, case):
    """`positive_data_acceptance`, but for the rules above."""
    if _rule_beyond_the_schema(response):
        return None
    # Chains of operations also put ids of one kind where the document asks for another, and call that valid.
    chained = case.meta is not None and case.meta.phase.name == TestPhase.STATEFUL
    if chained and b"request.invalid_path" in response.content and b"this is not the id of" in response.content:
        return None
    return positive_data_acceptance(ctx, response, case)


_requests = itertools.count()

# What the document shows as an id, and what ids look like in answers.
EXAMPLE = re.compile(r"\b([a-z]{2,5})_01hgw2bbg0e4rq9v7pfm3jkd8s\b")
ID = re.compile(r'"([a-z]{2,5})_([0-7][0-9a-hjkmnp-tv-z]{25})"')
_known = defaultdict(lambda: deque(maxlen=16))


def _existing(value, number):
    """Returns the value with ids that answers had lately in the places of the example."""
    if isinstance(value, str):
        def known(match):
            ids = _known.get(match[1])
            return ids[number % len(ids)] if ids else match[0]
        return EXAMPLE.sub(known, value)
    if isinstance(value, list):
        return [_existing(item, number) for item in value]
    if isinstance(value, dict):
        return {name: _existing(item, number) for name, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    """Asks for what is there, where schemathesis takes the document's example for an id; and comes from another
    address each time, as limits of one address would answer in place of the operation."""
    number = next(_requests)
    for part in ("path_parameters", "query", "body"):
        before = getattr(case, part)
        after = _existing(before, number)
        if after != before:
            setattr(case, part, after)
    number %= 1 << 24
    case.headers["X-Forwarded-For"] = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code in (200, 201, 202):
        for prefix, digits in ID.findall(response.text if response.content else ""):
            found = f"{prefix}_{digits}"
            if found not in _known[prefix] and not EXAMPLE.match(found):
                _known[prefix].append(found)


@schemathesis.check
class answers_are_counted:
    """Finds nothing; what it counts is written when all phases are over."""

    def __init__(self):
        self.answers = defaultdict(Counter)

    def after_response(self, ctx, response, case):
        self.answers[case.operation.label][str(response.status_code)] += 1

    def after_run(self, ctx):
        with open(os.environ["PORTICO_COUNTED"], "w", encoding="utf-8") as file:
            json.dump(self.answers, file)
