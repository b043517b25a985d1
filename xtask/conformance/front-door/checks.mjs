// What the checks of this suite have in common: asking with nothing in between, comparing two answers. Not for counting,
// which all suites do alike.

import http from 'node:http';

import { expect, same } from './counting.mjs';

export * from './counting.mjs';

const agent = new http.Agent({ keepAlive: true, timeout: 2_000 });
const PATIENCE_MS = 90_000;

/** Sends a request and reads the whole answer, as it is. */
export function ask(base, path, { method = 'GET', token, headers = {}, body } = {}) {
  const fields = { ...headers };
  if (token) fields.authorization = `Bearer ${token}`;
  let bytes = body;
  if (body !== undefined && !Buffer.isBuffer(body)) {
    bytes = Buffer.from(JSON.stringify(body));
    fields['content-type'] ??= 'application/json';
  }
  if (bytes !== undefined) fields['content-length'] = bytes.length;
  return new Promise((resolve, reject) => {
    const url = new URL(base);
    const request = http.request({ host: url.hostname, port: url.port, path, method, headers: fields, agent }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part)).on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(parts);
        const answer = { status: response.statusCode, headers: response.headers, raw: response.rawHeaders, bytes, text: bytes.toString() };
        try {
          answer.json = JSON.parse(answer.text);
        } catch {
          // Not everything is JSON.
        }
        resolve(answer);
      });
    });
    request.setTimeout(PATIENCE_MS, () => request.destroy(new Error(`${method} ${path}: no answer in ${PATIENCE_MS} ms`)));
    request.on('error', (error) => reject(new Error(`${method} ${path}: ${error.message}`)));
    request.end(bytes);
  });
}

/** What the door adds, or what is between two neighbours only. */
const OURS = new Set([
  'connection', 'keep-alive', 'date', 'transfer-encoding', 'x-request-id', 'x-correlation-id', 'x-content-type-options', 'ratelimit',
  'ratelimit-policy', 'cache-status', 'age', 'vary', 'via',
]);

/** Throws unless an answer through the door is the server's own: status, fields, bytes. */
export function alike(through, direct, except = []) {
  same('the status', through.status, direct.status);
  for (const name of new Set([...Object.keys(through.headers), ...Object.keys(direct.headers)])) {
    if (OURS.has(name) || except.includes(name) || name.startsWith('access-control-')) continue;
    same(`the field ${name}`, through.headers[name], direct.headers[name]);
  }
  expect(through.bytes.equals(direct.bytes), `the bodies differ: ${through.bytes.length} and ${direct.bytes.length} bytes`);
}

/** Throws unless it is a problem document of the door's with this status and code. */
export function problem(answer, status, code) {
  same('the status', answer.status, status);
  same('the media type', String(answer.headers['content-type']).split(';')[0], 'application/problem+json');
  if (code) same('the code', answer.json?.code, code);
}

/** Waits until `seen` returns something that is not undefined, false or null, and returns it. */
export async function eventually(what, seen, limit = 15_000) {
  const began = performance.now();
  for (;;) {
    const found = await seen();
    if (found) return found;
    expect(performance.now() - began < limit, `${what}: not within ${limit} ms`);
    await pause(20);
  }
}

/** Waits. */
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Throws unless every request that came says whose it is, and none shows a credential. */
export function told(tap, tokens, tenant, exempt = () => false) {
  const text = tap.text();
  for (const token of tokens) expect(!text.includes(token), 'the server was shown a token');
  expect(!/^authorization:/im.test(text), 'the server was shown an Authorization field');
  const requests = tap.requests().filter((request) => !exempt(request));
  expect(requests.length > 0, 'nothing came');
  for (const { method, path, fields, headers } of requests) {
    const what = `${method} ${path}`;
    same(`the tenant of ${what}`, headers['x-tenant-id'], tenant);
    for (const name of ['x-user-id', 'x-request-id', 'x-forwarded-for', 'via']) expect(headers[name], `${what} has no ${name}`);
    const twice = fields.map(([name]) => name.toLowerCase()).filter((name, place, all) => name.startsWith('x-') && all.indexOf(name) !== place);
    same(`fields of ${what} that came twice`, twice.join(), '');
  }
  return requests.length;
}
