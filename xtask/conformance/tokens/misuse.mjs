// Genuine tokens where they do not belong, beside others, and in requests that no HTTP library would
// send; and at the end what looks odd and is right. Not for forged tokens: see `attacks.mjs`.

import { answered, check, expect, invalidToken, note, same, unauthenticated } from './checks.mjs';
import { bearer } from './door.mjs';
import { otherS } from './forgery.mjs';

/** Runs the checks. */
export async function misuse(scene) {
  await bytes(scene);
  await places(scene);
  await misplaced(scene);
  await permitted(scene);
}

/** What only raw bytes can carry, and what is too long for the server's own limits. */
async function bytes({ door, genuine: { token, parts: { header, payload, signature } }, attacker }) {
  for (const [name, value] of Object.entries({
    'a line feed inside': `${header}.${payload}\n.${signature}`,
    'a folded line inside': `${header}.${payload}\r\n .${signature}`,
    'a carriage return inside': `${header}.${payload}\r.${signature}`,
    'a NUL inside': `${header}.${payload}\0.${signature}`,
    'a NUL behind': `${token}\0`,
    'a byte 0x80 inside': `${header}.${payload}\x80.${signature}`,
    'a DEL behind': `${token}\x7f`,
  })) {
    await check(`attack: bytes: ${name}`, async () => answered({ status: await door.meRaw(value) }, 400, 401));
  }
  for (const kibibytes of [16, 60]) {
    await check(`attack: size: ${kibibytes} KiB`, async () => {
      const forged = attacker.sign({ kid: 'k'.repeat(kibibytes * 700), alg: 'ES256', typ: 'at+jwt' }, {});
      const answer = await door.me(forged.padEnd(kibibytes * 1024, 'A'));
      answered(answer, 401, 431);
      if (answer.status === 401) invalidToken(answer);
    });
  }
}

/** The genuine token where it does not belong, and beside others. */
async function places({ door, genuine: { token, header, claims }, attacker }) {
  const forged = attacker.sign(header, claims);
  const ask = (...headers) => door.request('GET', '/api/auth/me', { headers });
  const authorization = (value) => ['authorization', value];

  await check('place: in the query, it does not authenticate', async () => {
    const answer = await door.request('GET', `/api/auth/me?access_token=${token}`);
    answered(answer, 400, 401);
    expect(!answer.text.includes(token), 'the answer repeats it');
  });
  const both = await door.request('GET', `/api/auth/me?access_token=${token}`, { headers: bearer(token) });
  await check('place: in the query and in the header, no 5xx', () => answered(both, 200, 400, 401));
  note(`a token in the query beside one in the header: ${both.status}`);
  // Refused by the strict reading, before anybody looks at a token.
  const repeated = (answer) => {
    answered(answer, 400);
    same('the code', answer.json?.code, 'gateway.header_repeated');
  };
  for (const [name, values] of Object.entries({
    'genuine twice': [token, token],
    'genuine and forged': [token, forged],
    'forged and genuine': [forged, token],
    'genuine and empty': [token, ''],
  })) {
    await check(`place: two Authorization fields, ${name}`, async () =>
      repeated(await ask(...values.map((value) => authorization(`Bearer ${value}`)))));
  }
  await check('place: two Authorization fields, genuine and Basic', async () =>
    repeated(await ask(authorization(`Bearer ${token}`), authorization('Basic YTpi'))));
  const schemes = {
    Basic: `Basic ${Buffer.from(`admin:${token}`).toString('base64')}`,
    'Basic with the bare token': `Basic ${token}`,
    Token: `Token ${token}`,
    JWT: `JWT ${token}`,
    DPoP: `DPoP ${token}`,
    Digest: `Digest username="${token}"`,
    BearerX: `BearerX ${token}`,
    'no scheme': token,
    'an equals sign': `Bearer=${token}`,
    'a colon': `Bearer:${token}`,
    'no space': `Bearer${token}`,
    'no token': 'Bearer',
    nothing: '',
  };
  for (const [name, value] of Object.entries(schemes)) {
    await check(`scheme: ${name}`, async () => unauthenticated(await ask(authorization(value))));
  }
  for (const [name, value] of Object.entries({
    cookie: `access_token=${token}; Host-portico=${token}; portico=${token}; token=${token}`,
    'proxy-authorization': `Bearer ${token}`,
    'x-access-token': token,
    'x-forwarded-authorization': `Bearer ${token}`,
    'sec-websocket-protocol': `bearer, ${token}`,
  })) {
    await check(`place: in the field ${name}, it does not authenticate`, async () =>
      unauthenticated(await ask([name, value])));
  }
  // The one cookie that is for it (docs/api-guidelines.md) reads; a page of another site changes nothing with it.
  await check('place: in the documented cookie, it changes nothing without an Origin of ours', async () => {
    for (const origin of [[], [['origin', 'https://attacker.example']]]) {
      const headers = [['cookie', `__Host-portico=${token}`], ...origin];
      const answer = await door.request('POST', '/api/auth/logout', { headers });
      answered(answer, 403);
      same('the code', answer.json?.code, 'request.foreign_origin');
    }
  });
}

/** Every sort of secret text where another sort is wanted. */
async function misplaced({ door }) {
  const { accessToken, refreshToken } = await door.signIn();
  const made = await door.request('POST', '/api/auth/tokens', { headers: bearer(accessToken), json: { name: 'c' } });
  const apiToken = made.json?.token;
  const login = (json) => door.request('POST', '/api/auth/login', { json });
  const asOperator = (token) =>
    door.request('POST', '/operator/sign-in-codes', { headers: bearer(token), json: { organization: 'main' } });
  const refusedWithoutToken = (answer, ...statuses) => {
    answered(answer, ...statuses);
    expect(!answer.text.includes('accessToken'), 'it gives tokens');
  };

  await check('permitted: an API token as bearer', async () => {
    answered(made, 201);
    answered(await door.me(apiToken), 200);
  });
  await check('misplaced: refresh token as bearer', async () => invalidToken(await door.me(refreshToken)));
  await check('misplaced: operator token as bearer', async () => invalidToken(await door.me(door.operatorToken)));
  await check('misplaced: API token with a letter changed as bearer', async () =>
    invalidToken(await door.me(apiToken.slice(0, -1) + (apiToken.endsWith('0') ? '1' : '0'))));
  await check('misplaced: access token as the operator\'s', async () => answered(await asOperator(accessToken), 401));
  await check('misplaced: API token as the operator\'s', async () => answered(await asOperator(apiToken), 401));
  await check('misplaced: API token where a session is wanted', async () =>
    answered(await door.request('POST', '/api/auth/tokens', { headers: bearer(apiToken), json: { name: 'd' } }), 403));
  const exchanged = await door.refresh(accessToken);
  await check('misplaced: access token as refresh token', () => refusedWithoutToken(exchanged, 400, 401));
  note(`an access token as refresh token: ${exchanged.status} ${exchanged.json?.code}`);
  await check('misplaced: access token\'s signature as refresh token', async () =>
    refusedWithoutToken(await door.refresh(accessToken.split('.')[2]), 401));
  await check('misplaced: API token as refresh token', async () =>
    refusedWithoutToken(await door.refresh(apiToken), 401));
  await check('misplaced: operator token as refresh token', async () =>
    refusedWithoutToken(await door.refresh(door.operatorToken), 401));
  await check('misplaced: refresh token as sign-in code', async () =>
    refusedWithoutToken(await login({ code: refreshToken }), 400, 401));
  await check('misplaced: operator token as sign-in code', async () =>
    refusedWithoutToken(await login({ code: door.operatorToken }), 400, 401));
}

/** What looks odd and is right, and that nothing was broken on the way. */
async function permitted({ door, genuine: { token, parts } }) {
  const ask = (value) => door.request('GET', '/api/auth/me', { headers: [['authorization', value]] });
  await check('permitted: the scheme\'s name in any case (RFC 9110)', async () => {
    answered(await ask(`bearer ${token}`), 200);
    answered(await ask(`BEARER ${token}`), 200);
  });
  const spaced = await ask(`Bearer   ${token}`);
  await check('permitted: more than one space behind the scheme, no 5xx', () => answered(spaced, 200, 401));
  note(`three spaces between Bearer and the token: ${spaced.status}`);
  const twin = await door.me(`${parts.header}.${parts.payload}.${otherS(parts.signature)}`);
  await check('permitted: the twin signature (r, n - s), no 5xx', () => answered(twin, 200, 401));
  note(`the twin signature (r, n - s) of a genuine token: ${twin.status}`);
  await check('after the attacks: the genuine token works', async () => answered(await door.me(token), 200));
}
