"""Who sends a request: an opaque token, known by its hash, remembered for half a minute."""

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import select

from answers import Problem, begin
from database import reading
from tables import ApiToken

SECONDS = 30
ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Caller:
    tenant: UUID
    actor: str
    permissions: frozenset[str]


_known: dict[bytes, tuple[float, Caller]] = {}


async def _look_up(digest: bytes) -> Caller:
    async with reading() as session:
        row = await session.scalar(select(ApiToken).where(ApiToken.hash == digest))
    if row is None or row.expires_at <= datetime.now(UTC):
        raise Problem(401, "request.unauthenticated", "send a valid bearer token")
    return Caller(row.tenant_id, row.actor, frozenset(row.permissions))


async def _caller(request: Request) -> Caller:
    begin(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Problem(401, "request.unauthenticated", "send a valid bearer token")
    digest = hashlib.sha256(token.encode()).digest()
    known = _known.get(digest)
    now = time.monotonic()
    if known is not None and known[0] > now:
        return known[1]
    caller = await _look_up(digest)
    if len(_known) >= ENTRIES:
        _known.clear()
    _known[digest] = (now + SECONDS, caller)
    return caller


def allowed(permission: str):
    async def check(caller: Caller = Depends(_caller)) -> Caller:
        if permission not in caller.permissions:
            raise Problem(403, "request.forbidden", f"this needs the permission {permission}")
        return caller

    return Depends(check)
