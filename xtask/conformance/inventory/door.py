"""HTTP to the server under test, with the standard library only. Not for what the answers mean."""

import concurrent.futures
import http.client
import json
import threading
import time
import urllib.parse


class Door:
    """One organisation's view of the server. Each thread has a connection of its own."""

    def __init__(self, base, token=None):
        self.host = urllib.parse.urlsplit(base).netloc
        self.token = token
        self.own = threading.local()

    def send(self, method, path, body=None, media_type="application/json", headers=None):
        """Gives the status, the headers and the body's bytes."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        sent = dict(headers or {})
        if self.token:
            sent["authorization"] = f"Bearer {self.token}"
        if body is not None:
            sent["content-type"] = media_type
        # A server closes what is idle, and may do so at the very moment of the next request.
        if time.monotonic() - getattr(self.own, "used", -60) > 5:
            self.own.connection = http.client.HTTPConnection(self.host, timeout=60)
        connection = self.own.connection
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        self.own.used = time.monotonic()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    def call(self, method, path, body=None, want=200, **more):
        """Insists on a status, and gives what the body has inside its shape, with the headers."""
        status, headers, text = self.send(method, path, body, **more)
        if status != want:
            raise AssertionError(f"{method} {path}: {status} instead of {want}: {text[:400].decode(errors='replace')}")
        if not headers.get("content-type", "").startswith("application/json"):
            return text, headers
        data = json.loads(text)
        return (data["data"] if isinstance(data, dict) and "success" in data else data), headers

    def get(self, path):
        return self.call("GET", path)[0]

    def post(self, path, body, want=200):
        return self.call("POST", path, body, want)[0]

    def finish(self, task, progress=None):
        """Waits until a task is over, and gives it."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            shown = self.get(f"/api/tasks/{task}")
            done = shown.get("progress") or {}
            if progress and done.get("of"):
                progress.at(done["done"], done["of"])
            if shown["state"] in ("done", "failed", "cancelled"):
                return shown
            time.sleep(0.05)
        raise AssertionError(f"the task {task} does not end")


def together(work, threads, jobs, progress):
    """Does the work for each job, some at a time, and passes the first failure on."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for count, done in enumerate(concurrent.futures.as_completed([pool.submit(work, job) for job in jobs]), 1):
            done.result()
            progress.at(count, len(jobs))
