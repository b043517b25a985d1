// Webhooks in the hands of standardwebhooks, in Node and in Python: every delivery that the suite's
// own receiver gets is verified by both. Not for what the receiver would do with them.

import http from 'node:http';
import { Webhook } from 'standardwebhooks';

import { answered, check, eventually, expect, note, now, pause, same } from './checks.mjs';
import { Listener, cloudEvent } from './listener.mjs';
import { verifyInPython } from './programs.mjs';

const ENDPOINTS = '/api/webhooks/endpoints';
/** The second attempt comes 5 s after the first, within a fifth. */
const SECOND_MS = [4_000, 8_000];
const NOTHING_MS = 1_000;

/** A receiver whose paths answer as told, keeping what it gets. */
class Receiver {
  constructor() {
    this.got = [];
    this.answers = new Map();
    this.server = http.createServer((request, response) => {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => {
        const delivery = { at: now(), path: request.url, method: request.method, headers: request.headers, body: Buffer.concat(parts).toString() };
        this.got.push(delivery);
        const answer = this.answers.get(request.url)?.shift() ?? { status: 204 };
        delivery.answered = answer.status;
        response.writeHead(answer.status, answer.headers).end(answer.body);
      });
    });
  }

  async start() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.base = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  at(path) {
    return this.got.filter((delivery) => delivery.path === path);
  }
}

/** Runs the checks. */
export async function webhooks(scene) {
  const { people: { admin, staff, viewer, stranger } } = scene;
  const receiver = await new Receiver().start();
  const create = (path, events = ['inventory.item.created']) =>
    admin.get('POST', ENDPOINTS, { url: `${receiver.base}${path}`, events });
  const verified = [];

  const first = await create('/first');
  await check('webhook: a new endpoint shows its secret once, as the libraries take it', async () => {
    expect(/^whsec_[A-Za-z0-9+/]{32,}={0,2}$/.test(first.secret), `the secret is ${first.secret?.slice(0, 6)}…`);
    const shown = await admin.call('GET', `${ENDPOINTS}/${first.id}`);
    answered(shown, 200);
    expect(!shown.text.includes('whsec_'), 'it is shown again');
  });
  for (const [who, person] of [['staff', staff], ['a viewer', viewer]]) {
    await check(`webhook: ${who} cannot see endpoints`, async () => answered(await person.call('GET', ENDPOINTS), 403));
  }
  await check('webhook: another organisation cannot see it', async () =>
    answered(await stranger.call('GET', `${ENDPOINTS}/${first.id}`), 404));

  let item;
  await check('webhook: what happens is delivered', async () => {
    item = await staff.createItem();
    const [delivery] = await eventually('a delivery', () => (receiver.at('/first').length > 0 ? receiver.at('/first') : null));
    same('the method', delivery.method, 'POST');
    const event = cloudEvent(delivery.body);
    same('the subject', event.subject, item.id);
    same('webhook-id', delivery.headers['webhook-id'], event.id);
    const type = delivery.headers['content-type']?.split(';')[0];
    expect(['application/json', 'application/cloudevents+json'].includes(type), `the media type is ${type}`);
    note(`webhooks come as ${type}`);
  });
  await check('webhook: standardwebhooks verifies it in Node, and no other body, id or time', () => {
    const [{ headers, body }] = receiver.at('/first');
    verified.push({ what: 'as it came', secret: first.secret, headers, body, expected: true });
    for (const [what, changed, text] of [
      ['another body', {}, body.replace('"', ' "')],
      ['another id', { 'webhook-id': 'evt_another' }, body],
      ['another time', { 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) }, body],
      ['no signature', { 'webhook-signature': 'v1,' }, body],
    ]) {
      verified.push({ what, secret: first.secret, headers: { ...headers, ...changed }, body: text, expected: false });
    }
    same('verdicts', verified.map(inNode).join(), verified.map(({ expected }) => expected).join());
  });
  await check('webhook: what it did not ask for does not come', async () => {
    await staff.adjust(item.id, 5);
    await stranger.createItem();
    const last = await staff.createItem();
    await eventually('the last', () => receiver.at('/first').some(({ body }) => body.includes(last.id)));
    await pause(NOTHING_MS);
    same('the deliveries', receiver.at('/first').length, 2);
  });

  await check('webhook: while two secrets live, both verify, in Node; the new one alone verifies what is sent to it', async () => {
    const rotated = await admin.get('POST', `${ENDPOINTS}/${first.id}/rotate-secret`);
    expect(rotated.secret !== first.secret, 'the secret is the same');
    const another = await staff.createItem();
    const { headers, body } = await eventually('a delivery', () => receiver.at('/first').find(({ body }) => body.includes(another.id)));
    same('the signatures', headers['webhook-signature'].split(' ').length, 2);
    for (const secret of [first.secret, rotated.secret]) {
      verified.push({ what: 'in the overlap', secret, headers, body, expected: true });
      expect(inNode(verified.at(-1)), 'one of the two does not verify');
    }
    const [{ headers: old, body: before }] = receiver.at('/first');
    verified.push({ what: 'sent before', secret: rotated.secret, headers: old, body: before, expected: false });
    expect(!inNode(verified.at(-1)), 'the new secret verifies what the old one signed');
  });
  await check('webhook: rotated twice, the first secret is dead', async () => {
    await admin.get('POST', `${ENDPOINTS}/${first.id}/rotate-secret`);
    const another = await staff.createItem();
    const { headers, body } = await eventually('a delivery', () => receiver.at('/first').find(({ body }) => body.includes(another.id)));
    verified.push({ what: 'after two rotations', secret: first.secret, headers, body, expected: false });
    expect(!inNode(verified.at(-1)), 'it verifies');
  });

  await check('webhook: a 500 is followed by a second attempt, 5 s later, with the same webhook-id and bytes', async () => {
    const failing = await create('/failing');
    receiver.answers.set('/failing', [{ status: 500, body: 'not now' }]);
    await staff.createItem();
    const [one, two] = await eventually('two attempts', () => (receiver.at('/failing').length >= 2 ? receiver.at('/failing') : null), 20_000);
    same('webhook-id', two.headers['webhook-id'], one.headers['webhook-id']);
    same('the body', two.body, one.body);
    for (const delivery of [one, two]) {
      verified.push({ what: 'an attempt', secret: failing.secret, headers: delivery.headers, body: delivery.body, expected: true });
      expect(inNode(verified.at(-1)), 'an attempt does not verify');
    }
    const after = two.at - one.at;
    expect(after >= SECOND_MS[0] && after <= SECOND_MS[1], `after ${after} ms`);
    note(`the second attempt came ${(after / 1_000).toFixed(1)} s after the first`);
  });
  await check('webhook: the log of deliveries tells both attempts', async () => {
    const [one] = receiver.at('/failing');
    const delivery = await eventually('it is delivered', async () => {
      const page = await admin.get('GET', '/api/webhooks/deliveries?state=delivered&limit=200');
      return page.items.find((known) => known.eventId === one.headers['webhook-id'] && known.attempts === 2);
    });
    const whole = await admin.get('GET', `/api/webhooks/deliveries/${delivery.id}`);
    same('the statuses, the last first', whole.tried.map(({ status }) => status).join(), '204,500');
  });
  await check('webhook: a replay sends the same webhook-id and bytes once more', async () => {
    const [one] = receiver.at('/first');
    const page = await admin.get('GET', '/api/webhooks/deliveries?limit=200');
    const known = page.items.find((delivery) => delivery.eventId === one.headers['webhook-id'] && delivery.endpointId === first.id);
    await admin.get('POST', `/api/webhooks/deliveries/${known.id}/replay`);
    const again = await eventually('it comes again', () =>
      receiver.at('/first').filter(({ headers }) => headers['webhook-id'] === one.headers['webhook-id'])[1]);
    same('the body', again.body, one.body);
  });
  await check('webhook: a redirect is not followed', async () => {
    await create('/redirecting');
    receiver.answers.set('/redirecting', [{ status: 302, headers: { location: `${receiver.base}/elsewhere` } }]);
    await staff.createItem();
    await eventually('an attempt', () => receiver.at('/redirecting').length >= 1);
    await pause(NOTHING_MS);
    same('requests elsewhere', receiver.at('/elsewhere').length, 0);
  });
  await check('webhook: 410 switches the endpoint off and says so in the log', async () => {
    const listener = await new Listener(scene.base, { person: admin, query: { types: 'webhooks.endpoint.disabled' } }).ready();
    const gone = await create('/gone');
    receiver.answers.set('/gone', [{ status: 410 }]);
    await staff.createItem();
    const shown = await eventually('it is off', async () => {
      const endpoint = await admin.get('GET', `${ENDPOINTS}/${gone.id}`);
      return endpoint.enabled ? null : endpoint;
    });
    same('the reason', shown.disabledReason, 'gone');
    await eventually('the event', () => listener.about(gone.id).length === 1);
    await staff.createItem();
    await pause(NOTHING_MS);
    same('the attempts', receiver.at('/gone').length, 1);
    listener.close();
  });
  for (const url of [
    'http://10.0.0.1/', 'http://169.254.169.254/latest/meta-data/', 'http://[::1]/', 'http://[fd00::1]/', 'http://192.168.1.1/',
    'http://0.0.0.0/', 'http://localhost.localdomain:1/', 'ftp://127.0.0.1/', 'http://user:word@127.0.0.1/', 'http://[::ffff:10.0.0.1]/',
    'http://0x0a000001/', 'http://167772161/',
  ]) {
    await check(`webhook: ${url} is no endpoint, or nothing is ever sent there`, async () => {
      const answer = await admin.call('POST', ENDPOINTS, { url, events: ['webhooks.never'] });
      if (answer.status === 201) {
        // A name is judged when it is resolved: an attempt must fail before a connection.
        answered(await admin.call('POST', `${ENDPOINTS}/${answer.json.id}/test`), 202);
        const found = await eventually('an attempt fails', async () => {
          const page = await admin.get('GET', `/api/webhooks/deliveries?endpointId=${answer.json.id}`);
          return page.items.find((delivery) => delivery.error);
        });
        expect(!found.status, `it was answered ${found.status}`);
        answered(await admin.call('DELETE', `${ENDPOINTS}/${answer.json.id}`), 200, 204);
        return;
      }
      answered(answer, 400);
    });
  }

  await check('webhook: Python\'s standardwebhooks says the same of every delivery', async () => {
    const verdicts = await verifyInPython(scene.given, verified.map(({ secret, headers, body }) => ({ secret, headers, body })));
    verified.forEach(({ what, expected }, place) => {
      const { verified: taken, why } = verdicts[place];
      expect(taken === expected, `${what}: ${taken ? 'verified' : why}, and Node says otherwise`);
    });
    note(`${verified.length} deliveries and forgeries judged alike by Node and Python`);
  });
  await check('webhook: everything that arrived is a CloudEvent', () => receiver.got.forEach(({ body }) => cloudEvent(body)));
  receiver.server.close();
}

/** Says whether Node's standardwebhooks verifies a delivery. */
function inNode({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error.name !== 'WebhookVerificationError' && error.constructor?.name !== 'WebhookVerificationError') throw error;
    return false;
  }
}
