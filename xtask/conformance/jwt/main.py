"""Tokens that PyJWT and joserfc make, judged by the gateway's issuers, PyJWT and joserfc.

For: what others' issuers send being believed, what nobody should believe being refused, and nothing being
believed here that one of the two libraries refuses. Not for: our own table of attacks, which is in
gateway/issuers/tests. Input: one JSON object on standard input, with the path of the judge.
"""

import base64
import hashlib
import hmac
import http.server
import json
import random
import subprocess
import sys
import threading
import time
import warnings

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from joserfc import jwe, jws
from joserfc import jwt as jose
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

warnings.filterwarnings("ignore")

NOW = 1_800_000_000
ISSUER = "https://login.example"
AUDIENCE = "api"
SKEW = 30
SECRET = "an old secret that two parties share, 2026"
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
MUTATIONS = 400


class Tally:
    """Prints one line for each check, as xtask reads them."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, good, detail=""):
        if good:
            self.passed += 1
            print(f"ok {name}")
        else:
            self.failed += 1
            print(f"FAIL {name}: {detail}")

    def end(self):
        print(json.dumps({"passed": self.passed, "failed": self.failed}), flush=True)
        return 1 if self.failed else 0


class Published:
    """The keys of the issuer, on a socket; discovery too."""

    def __init__(self):
        self.keys, self.asked = [], 0
        published = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                published.asked += 1
                body = json.dumps({"keys": [key.as_dict(private=False) for key in published.keys]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/jwk-set+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys"


class Judge:
    """The gateway's issuers in a process of their own."""

    def __init__(self, program, issuers):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.write({"issuers": issuers, "now": NOW})

    def write(self, value):
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def __call__(self, token):
        if isinstance(token, bytes):
            token = token.decode()
        self.write({"token": token})
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=10)


def keys():
    """One key of each kind, each with its algorithm."""
    make = lambda kind, how, algorithm: kind.generate_key(how, {"kid": algorithm.lower(), "alg": algorithm, "use": "sig"}, private=True)
    return {
        "RS256": make(RSAKey, 2048, "RS256"),
        "PS256": make(RSAKey, 3072, "PS256"),
        "ES256": make(ECKey, "P-256", "ES256"),
        "ES384": make(ECKey, "P-384", "ES384"),
        "EdDSA": make(OKPKey, "Ed25519", "EdDSA"),
    }


def claims(**changed):
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "tenant": "acme", "iat": NOW, "exp": NOW + 600, "scope": "openid read:items", "roles": ["staff"]}
    made.update(changed)
    return {name: value for name, value in made.items() if value is not ...}


def lenient(algorithms):
    """joserfc refuses members of a header that it does not know, which RFC 7515, section 4, says to ignore."""
    return jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)


def by_pyjwt(key, algorithm, body, **header):
    header = {"kid": key.kid, "typ": "at+jwt", **header}
    return pyjwt.encode(body, key.as_pem(private=True), algorithm=algorithm, headers=header)


def by_joserfc(key, algorithm, body, **header):
    header = {"alg": algorithm, "kid": key.kid, "typ": "at+jwt", **header}
    return jose.encode(header, body, key, registry=lenient([algorithm]))


MAKERS = (("PyJWT", by_pyjwt), ("joserfc", by_joserfc))


def pyjwt_believes(token, published):
    try:
        header = pyjwt.get_unverified_header(token)
        key = next(key for key in published if key.kid == header["kid"])
        pyjwt.api_jws.decode(token, pyjwt.PyJWK(key.as_dict(private=False)), algorithms=ALGORITHMS)
        payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return sound(payload)
    except Exception:
        return False


def joserfc_believes(token, published):
    try:
        read = jose.decode(token, KeySet(list(published)), registry=lenient(ALGORITHMS))
        registry = jose.JWTClaimsRegistry(
            now=NOW,
            leeway=SKEW,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
        )
        registry.validate(read.claims)
        return True
    except Exception:
        return False


def sound(payload):
    """PyJWT takes the time from the machine, so that its rules are asked for with times moved there."""
    moved = dict(payload)
    shift = int(time.time()) - NOW
    for name in ("exp", "nbf", "iat"):
        if isinstance(moved.get(name), (int, float)) and not isinstance(moved.get(name), bool):
            moved[name] += shift
    options = {"require": ["exp", "iss", "aud", "sub"]}
    secret = "x" * 64
    token = pyjwt.encode(moved, secret, algorithm="HS256")
    pyjwt.decode(token, secret, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER, leeway=SKEW, options=options)
    return True


def encoded(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def good(keys):
    """What issuers send, with what must be read from it."""
    for library, make in MAKERS:
        for algorithm, key in keys.items():
            for what, body, header in (
                ("as it comes", claims(), {}),
                ("several audiences", claims(aud=["web", AUDIENCE]), {}),
                ("a fraction of a second", claims(exp=NOW + 600.5, iat=NOW - 0.5), {}),
                ("just ended", claims(exp=NOW - SKEW + 1), {}),
                ("just begun", claims(nbf=NOW + SKEW, iat=NOW + SKEW), {}),
                ("other alphabets", claims(sub="Jürgen Müller 木", name="שלום"), {}),
                ("much inside", claims(groups=[{"name": str(n)} for n in range(50)]), {}),
                ("scopes in a list", claims(scope=["read:items"]), {}),
                ("the type of most", claims(), {"typ": "JWT"}),
                ("the whole media type", claims(), {"typ": "application/at+jwt"}),
                ("members that nobody knows", claims(), {"x": {"y": [1]}, "x5t": "abc"}),
            ):
                yield f"{library} {algorithm}: {what}", make(key, algorithm, body, **header), body


def bad(keys, stranger):
    """What nobody should believe."""
    for library, make in MAKERS:
        for algorithm, key in keys.items():
            for what, body, header in (
                ("another audience", claims(aud="web"), {}),
                ("other audiences", claims(aud=["web", "api2"]), {}),
                ("no audience", claims(aud=...), {}),
                ("another issuer", claims(iss="https://other.example"), {}),
                ("a slash more", claims(iss=ISSUER + "/"), {}),
                ("no issuer", claims(iss=...), {}),
                ("ended", claims(exp=NOW - SKEW), {}),
                ("no end", claims(exp=...), {}),
                ("not begun", claims(nbf=NOW + SKEW + 1), {}),
                ("from the future", claims(iat=NOW + 3_600), {}),
                ("no subject", claims(sub=...), {}),
                ("an unknown key", claims(), {"kid": "who"}),
                ("a proof", claims(), {"typ": "dpop+jwt"}),
            ):
                yield f"{library} {algorithm}: {what}", make(key, algorithm, body, **header)
    es, rs = keys["ES256"], keys["RS256"]
    yield "critical and unknown", critical(es)
    yield "PyJWT: none", pyjwt.encode(claims(), None, algorithm="none", headers={"kid": es.kid, "typ": "at+jwt"})
    for library, make in MAKERS:
        forged = make(stranger, "ES256", claims(), kid=es.kid)
        yield f"{library}: a stranger's key under a known name", forged
        yield f"{library}: a key in the header", make(stranger, "ES256", claims(), jwk=stranger.as_dict(private=False))
        yield f"{library}: keys elsewhere", make(stranger, "ES256", claims(), jku="https://evil.example/keys", kid=es.kid)
    for name, secret in (("PEM", rs.as_pem(private=False)), ("DER", rs.as_der(private=False)), ("n", rs.as_dict(private=False)["n"].encode())):
        for typ in ("JWT", "at+jwt"):
            message = encoded({"alg": "HS256", "kid": rs.kid, "typ": typ}) + "." + encoded(claims())
            mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
            yield f"HS256 with the public key as {name}, {typ}", f"{message}.{encoded(mac)}"
    yield "joserfc: HS256 with the secret of another issuer", by_joserfc(OctKey.import_key(SECRET, {"kid": es.kid}), "HS256", claims())
    yield "PyJWT: HS512 with the right secret", pyjwt.encode(claims(iss="shared"), SECRET * 2, algorithm="HS512", headers={"typ": "JWT"})
    yield "joserfc: encrypted", jwe.encrypt_compact({"alg": "dir", "enc": "A128CBC-HS256", "kid": es.kid}, json.dumps(claims()), OctKey.generate_key(256))
    whole = by_joserfc(es, "ES256", claims())
    header, payload, signature = whole.split(".")
    yield "detached", f"{header}..{signature}"
    yield "JSON form", json.dumps({"protected": header, "payload": payload, "signature": signature})
    yield "no signature", f"{header}.{payload}."
    yield "a token in a token", by_joserfc(es, "ES256", {"token": whole, **claims(iss=...)})
    yield "padded", f"{header}==.{payload}.{signature}"


def critical(key):
    """A good signature under an extension that must be understood; no library makes one for a name it does not know."""
    message = encoded({"alg": "ES256", "kid": key.kid, "typ": "JWT", "crit": ["x"], "x": 1}) + "." + encoded(claims())
    r, s = utils.decode_dss_signature(key.get_op_key("sign").sign(message.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{message}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def mutated(tokens):
    """Good tokens with one thing changed somewhere, the same ones in each run but for the signatures."""
    chance = random.Random(7519)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ "
    for number in range(MUTATIONS):
        token = list(chance.choice(tokens))
        place = chance.randrange(len(token))
        match chance.randrange(4):
            case 0:
                token[place] = chance.choice(alphabet)
            case 1:
                token.insert(place, chance.choice(alphabet))
            case 2:
                del token[place]
            case _:
                other = chance.randrange(len(token))
                token[place], token[other] = token[other], token[place]
        yield number, "".join(token)


def main():
    program = json.load(sys.stdin)["judge"]
    tally, published, all_keys = Tally(), Published(), keys()
    stranger = ECKey.generate_key("P-256", {"kid": "stranger"}, private=True)
    published.keys = list(all_keys.values())
    issuer = {
        "name": "login",
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwks_url": published.url,
        "skew_seconds": SKEW,
        "refetch_window_ms": 1,
        "scope_permissions": {"read:items": ["items.read"]},
    }
    shared = {**issuer, "name": "shared", "issuer": "shared", "secret": SECRET}
    del shared["jwks_url"]
    judge = Judge(program, [issuer, shared])
    believed = lambda token: judge(token)["code"] == ""
    made = []
    for what, token, body in good(all_keys):
        verdict = judge(token)
        read = (verdict.get("subject"), verdict.get("tenant"), verdict.get("permissions"), verdict.get("until"))
        expected = (body["sub"], "acme", ["items.read"], int(body["exp"] + SKEW))
        tally.check(f"believed: {what}", read == expected, verdict)
        both = pyjwt_believes(token, published.keys), joserfc_believes(token, published.keys)
        tally.check(f"and so by both: {what}", both == (True, True), both)
        made.append(token)
    for library, token in (
        ("PyJWT", pyjwt.encode(claims(iss="shared"), SECRET, algorithm="HS256", headers={"typ": "JWT"})),
        ("joserfc", jose.encode({"alg": "HS256", "typ": "JWT"}, claims(iss="shared"), OctKey.import_key(SECRET))),
    ):
        tally.check(f"believed: {library} HS256 with the secret", judge(token).get("issuer") == "shared")
    unbound = {name: value for name, value in all_keys["EdDSA"].as_dict(private=True).items() if name != "alg"}
    renamed = by_joserfc(OKPKey.import_key(unbound), "Ed25519", claims())
    tally.check("believed: joserfc Ed25519, as RFC 9864 calls it", believed(renamed), judge(renamed))
    for what, token in bad(all_keys, stranger):
        verdict = judge(token)
        tally.check(f"refused: {what}", verdict.get("status") == 401, verdict)
    accepted = 0
    for number, token in mutated(made):
        ours = believed(token)
        accepted += ours
        sound_too = not ours or (pyjwt_believes(token, published.keys) and joserfc_believes(token, published.keys))
        tally.check(f"changed {number}: believed by nobody, or by all", sound_too, token)
    print(f"note {accepted} of {MUTATIONS} changed tokens were still believed")
    # Rotation: the new key signs at once, the old one stays for a while, then goes.
    for turn in range(5):
        key = ECKey.generate_key("P-256", {"kid": f"turn-{turn}", "alg": "ES256"}, private=True)
        old, published.keys = published.keys[-1], [published.keys[-1], key]
        for library, make in MAKERS:
            tally.check(f"turn {turn}: the new key, {library}", believed(make(key, "ES256", claims())))
            algorithm = old.as_dict(private=False)["alg"]
            tally.check(f"turn {turn}: the old key, {library}", believed(make(old, algorithm, claims())))
    published.keys = published.keys[-1:]
    judge(by_pyjwt(stranger, "ES256", claims()))
    tally.check("a key that has gone is gone", not believed(by_pyjwt(old, old.as_dict(private=False)["alg"], claims())))
    tally.check("the judge ends in peace", judge.end() == 0)
    return tally.end()


if __name__ == "__main__":
    sys.exit(main())
