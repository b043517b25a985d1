// Portico's live interfaces in the hands of clients that others wrote. Reads from standard input
// where the servers are and who is signed in, as `cargo xtask conformance realtime` writes it. The
// sections run one after another; what takes minutes by itself runs beside them.

import { check, eventually, expect, finish, same } from './checks.mjs';
import { Door, Person } from './door.mjs';
import { notifications } from './notifications.mjs';
import { processes } from './processes.mjs';
import { startMail } from './programs.mjs';
import { expiring, sockets } from './sockets.mjs';
import { streams } from './streams.mjs';
import { webhooks } from './webhooks.mjs';

const LIMIT_MS = 560_000;
setTimeout(() => {
  console.log(`FAIL suite: not over after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS).unref();

let text = '';
for await (const part of process.stdin) text += part;
const given = JSON.parse(text);

const door = new Door(given.base, given.operatorToken);
const mail = await startMail(given);
const scene = { given, door, mail, base: given.base, people: await people() };

let whenExpired = async () => {};
let whenWritten = async () => {};
const sections = [
  ['expiring', async () => { whenExpired = await expiring(scene); }],
  ['notifications', async () => { whenWritten = await notifications(scene); }],
  ['streams', () => streams(scene)],
  ['sockets', () => sockets(scene)],
  ['webhooks', () => webhooks(scene)],
  ['two processes', () => processes(scene)],
  ['expired', () => whenExpired()],
  ['letters', () => whenWritten()],
];
const wanted = given.only?.split(',');
for (const [name, section] of sections) {
  if (wanted && !wanted.includes(name)) continue;
  // A section that breaks off is a failure, and the others still run.
  await section().catch((error) => check(`section ${name} runs to its end`, () => { throw error; }));
}
mail.end();
door.close();
finish();
// What a client left open must not keep the suite waiting.
setTimeout(() => process.exit(), 2_000).unref();

/** Signs everybody in; the letters of that go through the mail server. */
async function people() {
  const root = new Person(door, given.signedIn);
  const admin = await root.invite('admin', 'admin');
  const [staff, viewer] = [await admin.invite('staff', 'staff'), await admin.invite('viewer', 'viewer')];
  await check('letter: an invitation goes through the mail server', async () => {
    const [letter] = await eventually('the letter', () => (mail.to(viewer.email).length > 0 ? mail.to(viewer.email) : null));
    expect(letter.headers.subject?.startsWith('Invitation'), `the subject is ${letter.headers.subject}`);
    expect(/^<[^@<>\s]+@[^@<>\s]+>$/.test(letter.headers['message-id'] ?? ''), `Message-ID is ${letter.headers['message-id']}`);
    expect(letter.headers.date, 'there is no Date');
    same('defects', letter.defects.join(), '');
    expect(letter.parts['text/plain']?.includes('#/invitation?code='), 'there is no link with the code');
  });
  let stranger;
  await check('letter: a registration is confirmed with the code from the letter', async () => {
    stranger = await door.register('Somebody Else', 'elsewhere', async (email) => {
      const [letter] = await eventually('the letter', () => (mail.to(email).length > 0 ? mail.to(email) : null));
      return /code=(\S+)/.exec(letter.parts['text/plain'])[1];
    });
  });
  return { root, admin, staff, viewer, stranger };
}
