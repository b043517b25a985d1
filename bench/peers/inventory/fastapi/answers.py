"""What goes out: the envelope around data, and problems."""

import base64
import time
import uuid
from typing import Any

import orjson
from fastapi import Request, Response


class Problem(Exception):
    def __init__(self, status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None):
        self.status = status
        self.body = {"type": f"/errors/{code}", "title": code, "status": status, "detail": detail, "code": code}
        if errors:
            self.body["errors"] = errors


def begin(request: Request) -> None:
    sent = request.headers.get("x-request-id")
    request.state.began = time.perf_counter()
    request.state.request_id = sent or str(uuid.uuid4())
    request.state.correlation_id = request.headers.get("x-correlation-id") or request.state.request_id


def _answer(request: Request, status: int, body: dict[str, Any]) -> Response:
    state = request.state
    body["requestId"] = state.request_id
    body["correlationId"] = state.correlation_id
    body["meta"] = {"durationMs": int((time.perf_counter() - state.began) * 1000)}
    headers = {
        "x-request-id": state.request_id,
        "x-correlation-id": state.correlation_id,
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
    }
    return Response(orjson.dumps(body), status, headers, "application/json")


def success(request: Request, data: Any, status: int = 200, version: int | None = None) -> Response:
    response = _answer(request, status, {"success": True, "data": data})
    if version is not None:
        response.headers["etag"] = f'"v{version}"'
    return response


def failure(request: Request, problem: Problem) -> Response:
    return _answer(request, problem.status, {"success": False, "error": problem.body})


def cursor_after(name: str, item: uuid.UUID) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([name, str(item)])).decode()


def cursor_read(text: str) -> tuple[str, uuid.UUID]:
    try:
        name, item = orjson.loads(base64.urlsafe_b64decode(text))
        return str(name), uuid.UUID(item)
    except ValueError as error:
        raise Problem(400, "request.invalid_cursor", "this cursor is not valid here") from error
