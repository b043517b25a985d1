// Signing keys change while people work: nobody is refused, and a client that verifies on its own
// follows. Rotation is at once here, as in an emergency; otherwise a key is published an hour before
// it signs, and no client needs to fetch anything anew. Not for when keys are made by themselves.

import { decodeProtectedHeader } from 'jose';

import { keySet } from './accepted.mjs';
import { check, expect, note, same } from './checks.mjs';

const LOOPS = 4;
const ROTATIONS = 3;
const BETWEEN_MS = 2_500;

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Runs the checks. */
export async function rotation({ door, verifier }) {
  const before = await door.signIn();
  const people = await Promise.all(Array.from({ length: LOOPS }, () => door.signIn()));
  await verifier.verify(before.accessToken);
  const fetchesBefore = verifier.fetches;
  const firstKid = decodeProtectedHeader(before.accessToken).kid;
  const seen = { requests: 0, verified: 0, refused: [], kids: new Set([firstKid]) };
  const load = { over: false };
  const loops = people.map((person) => work(door, verifier, person, seen, load));

  const rotations = [];
  try {
    for (let number = 0; number < ROTATIONS; number += 1) {
      await pause(BETWEEN_MS);
      rotations.push(await door.operator('/operator/signing-keys', { atOnce: true }));
    }
    await pause(BETWEEN_MS);
  } finally {
    load.over = true;
    await Promise.all(loops);
  }

  await check(`rotation: ${ROTATIONS} times, each answers 201 with signsFrom in the past`, () => {
    for (const { status, json } of rotations) {
      same('the status', status, 201);
      expect(Date.parse(json?.signsFrom) <= Date.now(), `signsFrom is ${json?.signsFrom}`);
    }
  });
  await check('rotation: not one request under load is refused by the server', () => {
    const refused = seen.refused.filter(({ by }) => by === 'server');
    expect(refused.length === 0, `${refused.length} of ${seen.requests}, first: ${refused[0]?.why}`);
    expect(seen.requests > 100, `only ${seen.requests} requests were made`);
  });
  await check('rotation: jose verifies every new access token', () => {
    const refused = seen.refused.filter(({ by }) => by === 'jose');
    expect(refused.length === 0, `${refused.length} of ${seen.verified}, first: ${refused[0]?.why}`);
    expect(seen.verified > 100, `only ${seen.verified} tokens were verified`);
  });
  await check('rotation: every new key signs tokens', () =>
    same('the number of keys met', seen.kids.size, ROTATIONS + 1));
  const fetches = verifier.fetches - fetchesBefore;
  await check('rotation: jose fetches the keys anew for an unknown kid, and only then', () => {
    // Loops that meet a new key in the same moment may fetch once each.
    expect(fetches >= ROTATIONS && fetches <= ROTATIONS * LOOPS, `${fetches} fetches`);
  });
  const kids = ((await keySet(door)).json?.keys ?? []).map((key) => key.kid);
  await check('rotation: all keys whose tokens still work are published', () => {
    for (const kid of seen.kids) expect(kids.includes(kid), `${kid} is not`);
  });
  await check('rotation: the newest key signs', async () => {
    const { accessToken } = await door.signIn();
    same('kid', decodeProtectedHeader(accessToken).kid, kids.at(-1));
  });
  await check('rotation: a token from before verifies with jose', () => verifier.verify(before.accessToken));
  await check('rotation: a token from before works at the server', async () =>
    same('the status', (await door.me(before.accessToken)).status, 200));
  await check('rotation: a session from before is refreshed', async () =>
    same('the status', (await door.refresh(before.refreshToken)).status, 200));
  note(`rotation: ${seen.requests} requests, ${seen.verified} tokens verified, ${fetches} fetches of the JWKS`);
}

/** Works as one person does: asks with the newest token and with the first one, refreshes, verifies. */
async function work(door, verifier, person, seen, load) {
  let { accessToken, refreshToken } = person;
  const refused = (by, why) => seen.refused.push({ by, why });
  const ask = async (what, request) => {
    seen.requests += 1;
    const answer = await request.catch((error) => ({ status: error.message }));
    if (answer.status !== 200) refused('server', `${what}: ${answer.status} ${answer.json?.code ?? ''}`);
    return answer;
  };
  while (!load.over) {
    await ask('the newest token', door.me(accessToken));
    await ask('the first token', door.me(person.accessToken));
    const answer = await ask('refresh', door.refresh(refreshToken));
    if (answer.status !== 200) continue;
    ({ accessToken, refreshToken } = answer.json);
    seen.kids.add(decodeProtectedHeader(accessToken).kid);
    seen.verified += 1;
    await verifier.verify(accessToken).catch((error) => refused('jose', error.message));
  }
}
