// Who sends a request: an opaque token, known by its hash, remembered for half a minute.

import { createHash } from 'node:crypto';
import { Problem } from './answers.mjs';
import { pool } from './database.mjs';

const MILLISECONDS = 30_000;
const ENTRIES = 100_000;
const known = new Map();

const refused = () => new Problem(401, 'request.unauthenticated', 'send a valid bearer token');

async function lookUp(digest) {
  const { rows } = await pool.query({
    name: 'token',
    text: 'SELECT tenant_id, actor, permissions FROM api_token WHERE hash = $1 AND expires_at > now()',
    values: [digest],
  });
  if (rows.length === 0) throw refused();
  const [{ tenant_id: tenant, actor, permissions }] = rows;
  return { tenant, actor, permissions: new Set(permissions) };
}

async function caller(request) {
  const [scheme, token] = (request.get('authorization') ?? '').split(' ');
  if (scheme.toLowerCase() !== 'bearer' || !token) throw refused();
  const digest = createHash('sha256').update(token).digest();
  const key = digest.toString('base64');
  const found = known.get(key);
  if (found !== undefined && found.until > performance.now()) return found.caller;
  const checked = await lookUp(digest);
  if (known.size >= ENTRIES) known.clear();
  known.set(key, { until: performance.now() + MILLISECONDS, caller: checked });
  return checked;
}

/** Lets a request through whose caller has the permission. */
export const allowed = (permission) => async (request, _response, next) => {
  request.caller = await caller(request);
  if (!request.caller.permissions.has(permission)) {
    throw new Problem(403, 'request.forbidden', `this needs the permission ${permission}`);
  }
  next();
};
