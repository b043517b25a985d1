"""A real mail server for the suite: aiosmtpd on the port given, one line of JSON for each letter.

Refuses the first letter to an address that begins with `later-` for a while, as a busy server does.
Not for what is in the letters.
"""

import email
import email.policy
import json
import sys

from aiosmtpd.controller import Controller


class Box:
    """Takes letters and prints them."""

    def __init__(self):
        self.refused = set()

    async def handle_DATA(self, server, session, envelope):
        for recipient in envelope.rcpt_tos:
            if recipient.startswith("later-") and recipient not in self.refused:
                self.refused.add(recipient)
                show({"refused": recipient})
                return "451 4.3.2 come back later"
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {}
        for part in letter.walk():
            if not part.is_multipart():
                parts[part.get_content_type()] = part.get_content()
        headers = {name.lower(): str(value) for name, value in letter.items()}
        counts = {name: len(letter.get_all(name)) for name in headers}
        defects = [type(defect).__name__ for defect in letter.defects]
        show({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": headers,
            "repeated": [name for name, count in counts.items() if count > 1],
            "type": letter.get_content_type(),
            "parts": parts,
            "defects": defects,
        })
        return "250 2.0.0 taken"


def show(what):
    print(json.dumps(what), flush=True)


controller = Controller(Box(), hostname="127.0.0.1", port=int(sys.argv[1]))
controller.start()
show({"listening": True})
# The suite closes our input when it is done.
sys.stdin.read()
controller.stop()
