// Downloads from nginx: ranges, conditions, large files, with curl too. Not for nginx: what it answers directly is right.

import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

import { alike, ask, check, expect, note, same } from './checks.mjs';

const LARGE = 96 << 20;

export async function files(scene) {
  const { base, direct, taps } = scene;
  writeFileSync('./example/site/large.bin', randomBytes(LARGE));
  writeFileSync('./example/site/ü %25 +.txt', 'awkward');
  const both = async (path, more) => [await ask(base, `/files${path}`, more), await ask(direct.files, path, more)];
  const fields = (path) => ask(direct.files, path, { method: 'HEAD' }).then(({ headers }) => headers);
  const { etag, 'last-modified': modified } = await fields('/large.bin');

  const cases = {
    'a file': ['/news.json'],
    'a file that is kept': ['/assets/about.txt'],
    'a file that is not there': ['/nothing'],
    'a folder without its slash': ['/assets', {}, ['location']],
    'a name with a space, a plus and an umlaut': ['/%C3%BC%20+.txt'],
    'a query': ['/news.json?v=1&w=%2F'],
    'HEAD': ['/large.bin', { method: 'HEAD' }],
    'the first bytes': ['/large.bin', { headers: { range: 'bytes=0-99' } }],
    'the last bytes': ['/large.bin', { headers: { range: 'bytes=-100' } }],
    'from the middle on': ['/large.bin', { headers: { range: `bytes=${LARGE - 1000}-` } }],
    'a range that there is not': ['/large.bin', { headers: { range: `bytes=${LARGE}-` } }],
    'If-Range that holds': ['/large.bin', { headers: { range: 'bytes=5-9', 'if-range': etag } }],
    'If-None-Match': ['/large.bin', { headers: { 'if-none-match': etag } }],
    'If-Modified-Since': ['/large.bin', { headers: { 'if-modified-since': modified } }],
    'a range of what is kept': ['/assets/about.txt', { headers: { range: 'bytes=7-11' } }, ['accept-ranges']],
  };
  for (const [what, [path, more, except]] of Object.entries(cases)) {
    await check(`files: ${what} is nginx's own answer`, async () => alike(...await both(path, more), except));
  }
  await check('files: two ranges in one request are answered', async () => {
    const [through, itself] = await both('/large.bin', { headers: { range: 'bytes=0-4,10-14' } });
    same('the status', through.status, itself.status);
    same('the length', through.bytes.length, itself.bytes.length);
  });
  const want = createHash('sha256').update(readFileSync('./example/site/large.bin')).digest('hex');
  await check('files: 96 MiB arrive whole', async () => {
    const answer = await ask(base, '/files/large.bin');
    same('the digest', createHash('sha256').update(answer.bytes).digest('hex'), want);
  });
  await check('files: 96 MiB at once for four leave the door small', async () => {
    const before = resident(scene.pid);
    const answers = await Promise.all(Array.from({ length: 4 }, () => ask(base, '/files/large.bin')));
    const after = resident(scene.pid);
    expect(answers.every(({ bytes }) => bytes.length === LARGE), 'one is not whole');
    note(`files: resident memory of the door before and after: ${before} and ${after} MiB`);
    expect(after - before < 64, `the door has grown by ${after - before} MiB`);
  });
  await check('files: curl resumes a download that broke off', async () => {
    const [to, half] = [`${scene.work}/curl.bin`, readFileSync('./example/site/large.bin').subarray(0, LARGE / 3)];
    writeFileSync(to, half);
    const { code, err } = await scene.run('curl', ['-sS', '--fail', '-C', '-', '-o', to, `${base}/files/large.bin`]);
    same(`curl's exit code (${err.trim()})`, code, 0);
    same('the digest', createHash('sha256').update(readFileSync(to)).digest('hex'), want);
  });
  await check('files: curl gets the same over HTTP/2', async () => {
    const { code, out, err } = await scene.run('curl', ['-sS', '--fail', '--http2-prior-knowledge', `${base}/files/large.bin`]);
    same(`curl's exit code (${err.trim()})`, code, 0);
    same('the digest', createHash('sha256').update(out).digest('hex'), want);
  });
  await check('files: a client that goes half-way leaves nothing behind', async () => {
    const { code } = await scene.run('curl', ['-sS', '--limit-rate', '200k', '--max-time', '1', '-o', '/dev/null', `${base}/files/large.bin`]);
    same("curl's exit code", code, 28);
    same('then', (await ask(base, '/files/news.json')).status, 200);
  });
  await check('files: what nginx lets keep is kept for all, and marked', async () => {
    await ask(base, '/files/assets/about.txt');
    taps.files.forget();
    const answer = await ask(base, '/files/assets/about.txt');
    expect(/^portico; hit; ttl=\d+$/.test(answer.headers['cache-status']), `Cache-Status is ${answer.headers['cache-status']}`);
    expect(Number(answer.headers.age) >= 0, 'there is no Age');
    const not = await ask(base, '/files/assets/about.txt', { headers: { 'if-none-match': answer.headers.etag } });
    same('with its ETag', not.status, 304);
    same('what came to the server', taps.files.requests().length, 0);
  });
  await check('files: what nginx lets nobody keep is asked for each time', async () => {
    await ask(base, '/files/news.json');
    const again = await ask(base, '/files/news.json');
    same('Cache-Status', again.headers['cache-status'].split('; ttl')[0], 'portico; fwd=stale; fwd-status=304');
  });
  await check('files: the caller of a public route stays unknown to the server', async () => {
    taps.files.forget();
    await ask(base, '/files/news.json?who', { token: scene.tokens.alice });
    const [{ headers }] = taps.files.requests();
    same('tenant and token', `${headers['x-tenant-id']} ${headers.authorization}`, 'undefined undefined');
  });
  await check('files: what is kept is given while nginx is away', async () => {
    await ask(base, '/files/assets/about.txt');
    await scene.kill('files');
    const answer = await ask(base, '/files/assets/about.txt');
    await scene.revive('files');
    same('the status', answer.status, 200);
    expect(answer.headers['cache-status'].startsWith('portico; hit'), `Cache-Status is ${answer.headers['cache-status']}`);
  });
}

function resident(pid) {
  return Math.round(Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) / 1024);
}
