// npm's ws as client and as server, with the door between them. Not for frames: Autobahn's suite is.

import { WebSocket } from 'ws';

import { check, eventually, expect, same, told } from './checks.mjs';

/** Opens a socket; what is refused is thrown with its status. */
export function open(base, token, options = {}) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const socket = new WebSocket(`${base.replace('http', 'ws')}/echo`, { ...options, headers: { ...headers, ...options.headers } });
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
    socket.on('unexpected-response', (_, response) => reject(new Error(`refused ${response.statusCode}`)));
  });
}

const next = (socket, kind) => new Promise((resolve) => socket.once(kind, (...what) => resolve(what)));

async function refused(opening, status) {
  const error = await opening.then(() => null, (reason) => reason);
  same('the refusal', error?.message, `refused ${status}`);
}

export async function sockets(scene) {
  const { base, taps, tokens } = scene;
  taps.echo.forget();
  await check('socket: without a token, or from a foreign page, there is none', async () => {
    await refused(open(base), 401);
    await refused(open(base, tokens.alice, { origin: 'https://evil.example' }), 403);
    same('what came to the server', taps.echo.requests().length, 0);
  });
  await check('socket: a known page opens one', async () => {
    (await open(base, tokens.alice, { origin: 'https://app.example' })).close();
  });
  const socket = await open(base, tokens.alice);
  await check('socket: text and bytes come back as they went', async () => {
    for (const text of ['', 'ü', 'x'.repeat(70_000)]) {
      socket.send(text);
      const [data, binary] = await next(socket, 'message');
      expect(!binary && data.toString() === text, `${data.length} bytes came back for ${text.length} characters`);
    }
    const bytes = Buffer.alloc(4 << 20, 'abc');
    socket.send(bytes);
    const [data, binary] = await next(socket, 'message');
    expect(binary && data.equals(bytes), 'other bytes came back');
  });
  await check('socket: 500 messages keep their order', async () => {
    const seen = [];
    socket.on('message', (data) => seen.push(data.toString()));
    for (let number = 0; number < 500; number += 1) socket.send(String(number));
    await eventually('all are back', () => seen.length === 500);
    same('the order', seen.join(), Array.from({ length: 500 }, (_, number) => number).join());
  });
  await check('socket: a ping is answered', async () => {
    socket.ping('are you there');
    same('the pong', (await next(socket, 'pong'))[0].toString(), 'are you there');
  });
  await check('socket: the code and the reason of a close are passed on and come back', async () => {
    socket.close(4001, 'enough');
    const [code, reason] = await next(socket, 'close');
    same('what came back', `${code} ${reason}`, '4001 enough');
  });
  await check('socket: the server sees the tenant and never the token', () => {
    told(taps.echo, [tokens.alice], taps.echo.requests()[0].headers['x-tenant-id']);
  });
  await check('socket: the ninth of one user is refused, another user has room', async () => {
    const held = [];
    for (let number = 0; number < 8; number += 1) held.push(await open(base, tokens.albert));
    await refused(open(base, tokens.albert), 429);
    held.push(await open(base, tokens.greta));
    for (const one of held) one.terminate();
    const room = () => open(base, tokens.albert).then((one) => !one.terminate(), () => false);
    await eventually('there is room again', room);
  });
}
