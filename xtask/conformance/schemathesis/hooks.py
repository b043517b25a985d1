"""What the suite knows of this API that an OpenAPI document cannot say.

For: judging refusals of data that keeps the document, by their stable codes; coming from many addresses; and counting
what was answered. Not for which operations run and with whose token: xtask decides that.
"""

import itertools
import json
import os
from collections import Counter, defaultdict

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

# Rules that no schema can say. Each entry: the code of the problem, a word of its text where the code alone says
# too little, and why the document cannot say it.
BEYOND_THE_SCHEMA = [
    ("request.invalid_cursor", "", "a cursor is opaque: only what a page gave is one"),
    ("request.version_mismatch", "", "If-Match is about the present version"),
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
    ("request.invalid_body", "send either seconds or expiresAt", "which members go together"),
    ("request.invalid_body", "at least one measurement is needed", "which members go together"),
    ("request.invalid_body", "must be later than", "a moment that is counted from now, or from another"),
    ("request.invalid_query", "must be up to 50", "a list in one text"),
    ("request.invalid_header", "this is a WebSocket", "a handshake, not a request"),
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
    return positive_data_acceptance(ctx, response, case)


_requests = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Comes from another address each time: limits of one address would answer in place of the operation."""
    number = next(_requests) % (1 << 24)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


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
