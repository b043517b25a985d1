// The life of a session through the door: staying signed in, races, signing out, and what becomes of
// a copied refresh token. Not for what is inside the tokens.

import { answered, check, expect, invalidToken, same } from './checks.mjs';
import { bearer } from './door.mjs';
import { otherS, takeApart } from './forgery.mjs';

const PARALLEL = 8;
/** After this long an exchanged refresh token is taken for a copy: three times the grace of 10 s. */
const SURELY_OLD_MS = 30_500;

/** Runs the checks. */
export async function sessions({ door, verifier }) {
  const first = await door.signIn();
  let second;
  await check('refresh: gives the next pair of tokens', async () => {
    const answer = await door.refresh(first.refreshToken);
    answered(answer, 200);
    expect((answer.headers['cache-control'] ?? '').includes('no-store'), 'the answer may be stored');
    second = answer.json;
    expect(second.refreshToken !== first.refreshToken, 'the refresh token is the same');
    expect(second.accessToken !== first.accessToken, 'the access token is the same');
  });
  await check('refresh: the new access token verifies, for the same session', async () => {
    const { payload } = await verifier.verify(second.accessToken);
    same('sid', payload.sid, first.sessionId);
    answered(await door.me(second.accessToken), 200);
  });
  await check('refresh: the access token before works until it runs out', async () =>
    answered(await door.me(first.accessToken), 200));
  await check(`refresh: ${PARALLEL} at once with one token get the same successor`, async () => {
    const answers = await Promise.all(Array.from({ length: PARALLEL }, () => door.refresh(second.refreshToken)));
    for (const answer of answers) answered(answer, 200);
    same('the number of different successors', new Set(answers.map((answer) => answer.json.refreshToken)).size, 1);
    for (const answer of answers) await verifier.verify(answer.json.accessToken);
    second = answers[0].json;
  });
  await check('refresh: the common successor works', async () => {
    const answer = await door.refresh(second.refreshToken);
    answered(answer, 200);
    second = answer.json;
  });
  await check('refresh: a token with a letter changed is refused', async () => {
    const { refreshToken: text } = second;
    const place = text.lastIndexOf('_') + 1;
    const changed = text.slice(0, place) + (text[place] === '0' ? '1' : '0') + text.slice(place + 1);
    answered(await door.refresh(changed), 401);
  });

  const bystander = await door.signIn();
  // Known to the gateway before it is revoked.
  answered(await door.me(second.accessToken), 200);
  const { parts } = takeApart(second.accessToken);
  const twin = `${parts.header}.${parts.payload}.${otherS(parts.signature)}`;
  await door.me(twin);
  await check('sign-out: answers 204', async () =>
    answered(await door.request('POST', '/api/auth/logout', { headers: bearer(second.accessToken) }), 204));
  await check('sign-out: the access token is refused at once', async () =>
    invalidToken(await door.me(second.accessToken)));
  await check('sign-out: so are the session\'s earlier ones', async () =>
    invalidToken(await door.me(first.accessToken)));
  await check('sign-out: so is the access token with its twin signature', async () =>
    invalidToken(await door.me(twin)));
  await check('sign-out: the refresh token is refused', async () => {
    const answer = await door.refresh(second.refreshToken);
    answered(answer, 401);
    expect(!answer.text.includes('accessToken'), 'it gives tokens');
  });
  await check('sign-out: the person\'s other session goes on', async () => {
    answered(await door.me(bystander.accessToken), 200);
    answered(await door.refresh(bystander.refreshToken), 200);
  });
}

/** Exchanges a refresh token, keeps a copy of it, and returns the checks for when it is old. */
export async function copied({ door }) {
  const owner = await door.signIn();
  const next = (await door.refresh(owner.refreshToken)).json;
  const since = Date.now();
  return async () => {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, since + SURELY_OLD_MS - Date.now())));
    await check('copied refresh token: refused after the grace', async () =>
      answered(await door.refresh(owner.refreshToken), 401));
    await check('copied refresh token: ends the session, access token', async () =>
      invalidToken(await door.me(next.accessToken)));
    await check('copied refresh token: ends the session, refresh token', async () =>
      answered(await door.refresh(next.refreshToken), 401));
  };
}
