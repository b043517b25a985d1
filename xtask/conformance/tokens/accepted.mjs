// What an honest client sees: a key set that a library takes as it is, and tokens that verify with
// it. Not for attacks.

import {
  calculateJwkThumbprint,
  createRemoteJWKSet,
  customFetch,
  decodeProtectedHeader,
  errors,
  jwtVerify,
} from 'jose';

import { answered, check, expect, same } from './checks.mjs';

const JWKS_PATH = '/.well-known/jwks.json';
/** The members of a JWK that hold a private or a symmetric key (RFC 7518, section 6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];
const CLAIMS = ['iss', 'aud', 'sub', 'client_id', 'sid', 'organizationId', 'role', 'jti', 'iat', 'exp'];
/**
 * How long a key set that was just read is believed although a token names an unknown key. jose's own
 * value is 30 s: with it, a client may refuse the tokens of a key that signs at once for that long.
 */
const COOLDOWN_MS = 0;

/** A client that verifies on its own, with nothing but the server's address. */
export class Verifier {
  constructor(door, { issuer, audience }) {
    this.fetches = 0;
    this.rules = { issuer, audience, algorithms: ['ES256'], typ: 'at+jwt' };
    this.keys = createRemoteJWKSet(new URL(JWKS_PATH, door.base), {
      cooldownDuration: COOLDOWN_MS,
      [customFetch]: (url, options) => {
        this.fetches += 1;
        return fetch(url, options);
      },
    });
  }

  /** Verifies a token, under other rules where some are given. */
  verify(token, otherRules = {}) {
    return jwtVerify(token, this.keys, { ...this.rules, ...otherRules });
  }
}

/** Reads the key set. */
export async function keySet(door) {
  return door.request('GET', JWKS_PATH);
}

async function refusedWith(code, verifying) {
  const error = await verifying.then(() => undefined, (error) => error);
  expect(error instanceof errors.JOSEError, 'jose accepts it');
  same('the reason', error.code, code);
}

/** Runs the checks. */
export async function accepted({ door, verifier, signedIn }) {
  const { accessToken } = signedIn;
  const document = await keySet(door);
  const keys = document.json?.keys ?? [];

  await check('JWKS: answers 200 without credentials', () => answered(document, 200));
  await check('JWKS: content type application/jwk-set+json', () => {
    same('content-type', document.headers['content-type'], 'application/jwk-set+json');
  });
  await check('JWKS: may be cached for a while', () => {
    const control = document.headers['cache-control'] ?? '';
    const age = Number(/\bmax-age=(\d+)/.exec(control)?.[1]);
    expect(age > 0 && age <= 3600, `cache-control is ${control}`);
  });
  await check('JWKS: no private member in any key', () => {
    expect(keys.length > 0, 'there are no keys');
    const found = keys.flatMap((key) => PRIVATE_MEMBERS.filter((name) => name in key));
    expect(found.length === 0, `there is ${found.join(', ')}`);
  });
  await check('JWKS: every key is a P-256 key for ES256 signatures', () => {
    for (const key of keys) {
      same('kty', key.kty, 'EC');
      same('crv', key.crv, 'P-256');
      same('alg', key.alg, 'ES256');
      same('use', key.use, 'sig');
    }
  });
  await check('JWKS: every kid is the key\'s thumbprint (RFC 7638), and no two are alike', async () => {
    for (const key of keys) same('kid', key.kid, await calculateJwkThumbprint(key));
    same('the number of different kids', new Set(keys.map((key) => key.kid)).size, keys.length);
  });

  await check('jose: createRemoteJWKSet and jwtVerify accept the token', () => verifier.verify(accessToken));
  await check('jose: refuses it for another issuer', () =>
    refusedWith('ERR_JWT_CLAIM_VALIDATION_FAILED', verifier.verify(accessToken, { issuer: 'somebody' })));
  await check('jose: refuses it for another audience', () =>
    refusedWith('ERR_JWT_CLAIM_VALIDATION_FAILED', verifier.verify(accessToken, { audience: 'another' })));
  await check('jose: refuses it as another type of token', () =>
    refusedWith('ERR_JWT_CLAIM_VALIDATION_FAILED', verifier.verify(accessToken, { typ: 'id+jwt' })));
  await check('jose: refuses it once it has run out', () =>
    refusedWith('ERR_JWT_EXPIRED', verifier.verify(accessToken, { currentDate: new Date(Date.now() + 601_000) })));

  const { payload: claims = {} } = await verifier.verify(accessToken).catch(() => ({}));
  await check('token: the header holds alg, typ and kid, and nothing else', () => {
    const header = decodeProtectedHeader(accessToken);
    same('the header\'s members', Object.keys(header).sort().join(' '), 'alg kid typ');
    expect(keys.some((key) => key.kid === header.kid), 'its kid is not in the JWKS');
  });
  await check('token: holds the claims of RFC 9068 and ours, and nothing else', () => {
    same('the claims', Object.keys(claims).sort().join(' '), [...CLAIMS].sort().join(' '));
  });
  await check('token: every claim has its type', () => {
    for (const name of CLAIMS) {
      const type = name === 'iat' || name === 'exp' ? 'number' : 'string';
      same(`the type of ${name}`, typeof claims[name], type);
      expect(type === 'number' ? Number.isInteger(claims[name]) : claims[name] !== '', `${name} is ${claims[name]}`);
    }
  });
  await check('token: lives for 300 to 600 seconds from now', () => {
    const lifetime = claims.exp - claims.iat;
    expect(lifetime >= 300 && lifetime <= 600, `exp - iat is ${lifetime}`);
    expect(Math.abs(claims.iat - Date.now() / 1000) < 60, `iat is ${claims.iat}`);
  });
  await check('token: says the same as the answer that it came in', () => {
    same('sub', claims.sub, signedIn.user.id);
    same('role', claims.role, signedIn.user.role);
    same('organizationId', claims.organizationId, signedIn.organization.id);
    same('sid', claims.sid, signedIn.sessionId);
    same('expiresIn', signedIn.expiresIn, claims.exp - claims.iat);
    same('expiresAt', Math.floor(Date.parse(signedIn.expiresAt) / 1000), claims.exp);
  });
  await check('token: the server says the same of its bearer', async () => {
    const me = await door.me(accessToken);
    answered(me, 200);
    same('sub', me.json.user.id, claims.sub);
    same('organizationId', me.json.organization.id, claims.organizationId);
    same('role', me.json.user.role, claims.role);
  });
  await check('token: no two have the same jti', async () => {
    const { payload } = await verifier.verify((await door.signIn()).accessToken);
    expect(payload.jti !== claims.jti, 'two sign-ins gave the same');
  });
}
