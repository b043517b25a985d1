"""Verifies webhooks with Python's standardwebhooks: one delivery a line in, one verdict a line out.

Not for receiving them; the suite did that.
"""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    given = json.loads(line)
    try:
        body = Webhook(given["secret"]).verify(given["body"], given["headers"])
        verdict = {"verified": True, "type": body.get("type")}
    except WebhookVerificationError as error:
        verdict = {"verified": False, "why": str(error)}
    print(json.dumps(verdict), flush=True)
