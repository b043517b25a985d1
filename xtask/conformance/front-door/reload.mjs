// gateway.toml changes while clients are at work: none of them notices. Not for what a file may hold.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';

import { alike, ask, check, eventually, expect, note, pause, same } from './checks.mjs';
import { listen, post } from './events.mjs';
import { open } from './sockets.mjs';

const CHANGES = 20;

export async function reload(scene) {
  const { base, direct, tokens } = scene;
  const file = scene.file;
  const before = readFileSync(file, 'utf8');
  const write = (text) => {
    writeFileSync(`${file}.next`, text);
    renameSync(`${file}.next`, file);
  };
  const routes = [
    ['/files/assets/about.txt', '/assets/about.txt', direct.files],
    ['/files/large.bin', '/large.bin', direct.files, { range: 'bytes=1000-1048575' }],
    ['/mlflow/version', '/version', direct.mlflow],
    ['/products?_sort=name', '/products?_sort=name', direct.shop],
  ];
  const wanted = await Promise.all(routes.map(([, path, origin, headers]) => ask(origin, path, { headers })));
  const [wrong, counts] = [[], routes.map(() => 0)];
  let over = false;
  const worker = async (place) => {
    const which = place % routes.length;
    while (!over) {
      try {
        const answer = await ask(base, routes[which][0], { token: tokens.greta, headers: routes[which][3] });
        alike(answer, wanted[which], ['x-powered-by', 'link', 'etag']);
      } catch (error) {
        wrong.push(`${routes[which][0]}: ${error.message}`);
      }
      counts[which] += 1;
      await pause(5);
    }
  };
  const { source, seen } = listen(scene, tokens.greta);
  const socket = await open(base, tokens.greta);
  await eventually('the stream is open', () => source.readyState === source.OPEN);
  scene.taps.ticker.forget();
  const workers = Array.from({ length: 12 }, (_, place) => worker(place));
  await check(`reload: ${CHANGES} changes of gateway.toml each take effect`, async () => {
    for (let number = 1; number <= CHANGES; number += 1) {
      const more = `\n[[routes]]\npath = "/version"\naccess = "public"\nrespond = { content_type = "text/plain", body = "${number}" }\n`;
      // Each second time other settings of an upstream too, so that it is made anew.
      const text = number % 2 ? before : before.replace('open_ms = 1000', `open_ms = ${1000 + number}`).replace('first_byte_ms = 60000', `first_byte_ms = ${60000 + number}`);
      write(text + more);
      await eventually(`version ${number}`, async () => (await ask(base, '/version')).text === String(number));
    }
  });
  await check('reload: a file with a mistake is not used, and the log says where it is', async () => {
    write(`${before}\n[[routes]]\npath = "/version"\nupstream = "nobody"\n`);
    await eventually('the log says so', () => /gateway\.toml:\d+:\d+: there is no upstream \\*"nobody/.test(readFileSync(scene.log, 'utf8')));
    same('the version', (await ask(base, '/version')).text, String(CHANGES));
  });
  write(before);
  await check('reload: the first file again', () => eventually('no version', async () => (await ask(base, '/version')).status === 404));
  over = true;
  await Promise.all(workers);
  await check('reload: of all the requests under way meanwhile none failed', () => {
    same(`what went wrong (${wrong.slice(0, 2).join('; ')})`, wrong.length, 0);
    expect(counts.every((count) => count > 10), `only ${counts.join(', ')} were asked`);
  });
  await check('reload: the stream and the socket that were open before are the same ones after', async () => {
    await post(direct.ticker, 'after all');
    await eventually('the event', () => seen.some((event) => event.data === 'after all'));
    same('streams opened meanwhile', scene.taps.ticker.requests().length, 0);
    socket.send('after all');
    const [data] = await new Promise((resolve) => socket.once('message', (...what) => resolve(what)));
    same('the echo', data.toString(), 'after all');
    source.close();
    socket.terminate();
  });
  note(`reload: ${counts.reduce((sum, count) => sum + count)} requests during ${CHANGES + 2} changes`);
}
