// Portico's access tokens and JWKS in the hands of a client that others wrote: jose. Reads from
// standard input where the server is and who is signed in, as `cargo xtask conformance tokens` writes
// it. The sections run one after another; only the copied refresh token has to grow old meanwhile.

import { Verifier, accepted } from './accepted.mjs';
import { attacks } from './attacks.mjs';
import { check, finish } from './checks.mjs';
import { Door } from './door.mjs';
import { rotation } from './rotation.mjs';
import { copied, sessions } from './session.mjs';

const LIMIT_MS = 300_000;
setTimeout(() => {
  console.log(`FAIL suite: not over after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS).unref();

let text = '';
for await (const part of process.stdin) text += part;
const given = JSON.parse(text);

const door = new Door(given);
const verifier = new Verifier(door, given);
const scene = { door, verifier, signedIn: given.signedIn };

let whenOld = async () => {};
for (const [name, section] of [
  ['accepted', () => accepted(scene)],
  ['copied', async () => { whenOld = await copied(scene); }],
  ['attacks', () => attacks(scene)],
  ['sessions', () => sessions(scene)],
  ['rotation', () => rotation(scene)],
  ['copied, when old', () => whenOld()],
]) {
  // A section that breaks off is a failure, and the others still run.
  await section().catch((error) => check(`section ${name} runs to its end`, () => { throw error; }));
}
door.close();
finish();
