// What the checks of this suite have in common. Not for counting, which all suites do alike.

import { answered, expect, same } from './counting.mjs';

export * from './counting.mjs';

/** Throws unless the answer is 401 with a problem document and names Bearer as the way in. */
export function unauthenticated(answer) {
  answered(answer, 401);
  const type = answer.headers['content-type'] ?? '';
  expect(type.split(';')[0] === 'application/problem+json', `the content type is ${type}`);
  same('the status in the problem document', answer.json?.status, 401);
  expect(typeof answer.json?.code === 'string', 'the problem document has no code');
  expect(/^Bearer\b/.test(challenge(answer)), `WWW-Authenticate is ${challenge(answer)}`);
}

/** Throws unless the answer is that of a bearer token that was looked at and refused (RFC 6750). */
export function invalidToken(answer) {
  unauthenticated(answer);
  expect(/^Bearer .*error="invalid_token"/.test(challenge(answer)), `WWW-Authenticate is ${challenge(answer)}`);
}

function challenge(answer) {
  return answer.headers['www-authenticate'] ?? '(missing)';
}
