// MLflow's own client through the door, step by step as without it. Not for the steps: `mlflow_client.py` has them.

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';

import { alike, ask, check, expect, note, problem, same, told } from './checks.mjs';

/** What a run of the client says, step by step. */
async function work(scene, name, uri, token, some) {
  const env = {
    ...process.env,
    PYTHONPATH: scene.packages,
    PYTHONDONTWRITEBYTECODE: '1',
    // A failure must not hide behind a second try.
    MLFLOW_HTTP_REQUEST_MAX_RETRIES: '0',
    MLFLOW_DISABLE_TELEMETRY: 'true',
    GIT_PYTHON_REFRESH: 'quiet',
  };
  if (token) env.MLFLOW_TRACKING_TOKEN = token;
  const words = ['mlflow_client.py', uri, name, `${scene.work}/${name}`, ...(some ? ['some'] : [])];
  const { code, out, err } = await scene.run(scene.python, words, { env });
  const lines = out.toString().split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  return { steps: lines, code, err: err.slice(-800) };
}

export async function mlflow(scene) {
  const { base, direct, taps, tokens } = scene;
  const door = `${base}/mlflow`;
  taps.mlflow.forget();
  // Side by side they would only wait for each other's database.
  const without = await work(scene, 'alpha', direct.mlflow);
  const through = await work(scene, 'omega', door, tokens.alice);
  await check('mlflow: the client works to its end', () => {
    for (const run of [without, through]) same(`the exit code (${run.err})`, run.code, 0);
    same('the number of steps', through.steps.length, without.steps.length);
  });
  for (const [place, step] of without.steps.entries()) {
    await check(`mlflow: ${step.step}`, () => same('what the client got', JSON.stringify(through.steps[place]), JSON.stringify(step)));
  }
  const refused = through.steps.filter((step) => /failed with error code/.test(step.message));
  note(`mlflow: the server itself has no path for ${refused.map((step) => step.step).join(', ') || 'nothing'}`);

  const health = (request) => request.path === '/health' && !request.headers['x-request-id'];
  await check('mlflow: the server sees the tenant with every request and never the token', () => {
    const tenant = taps.mlflow.requests().find((request) => !health(request)).headers['x-tenant-id'];
    scene.acme = tenant;
    const count = told(taps.mlflow, [tokens.alice], tenant, health);
    expect(count > 150, `only ${count} requests came`);
    const all = taps.mlflow.requests().filter((request) => !health(request));
    same('who asks', [...new Set(all.map((request) => request.headers['x-user-role']))].join(), 'editor');
    expect(all.some(({ path }) => path.includes('%')), 'no path with a percent-encoding came');
  });

  taps.mlflow.forget();
  const api = await work(scene, 'token', door, tokens.api, true);
  await check('mlflow: the client works with an API token of the installation', () => {
    same(`the exit code (${api.err})`, api.code, 0);
    expect(api.steps.length > 20 && !api.steps.some((step) => step.broke), 'a step broke');
  });
  await check('mlflow: then the server sees the tenant of the installation', async () => {
    const me = await ask(base, '/api/auth/me', { token: tokens.session });
    const tenant = JSON.stringify(me.json).match(/ten_[0-9a-z]+/)?.[0];
    const seen = taps.mlflow.requests().find((request) => !health(request)).headers['x-tenant-id'];
    told(taps.mlflow, [tokens.api, tokens.session], seen, health);
    expect(seen !== scene.acme, 'it is the tenant of the issuer');
    expect(!tenant || tenant === seen, `it is ${seen}, not ${tenant}`);
  });

  taps.mlflow.forget();
  await check('mlflow: without a token nothing gets past the door', async () => {
    problem(await ask(base, '/mlflow/api/2.0/mlflow/experiments/search?max_results=1'), 401, 'request.unauthenticated');
    const { steps, code } = await work(scene, 'nobody', door, undefined, true);
    expect(code !== 0 && steps.length === 0, 'the client worked');
    same('what came to the server', taps.mlflow.requests().filter((request) => !health(request)).length, 0);
  });
  await check('mlflow: curl puts an artifact that waits for 100 Continue, over HTTP/1.1 and HTTP/2', async () => {
    const sent = `${scene.work}/sent.bin`;
    const bytes = randomBytes(3 << 20);
    writeFileSync(sent, bytes);
    const word = { '--http1.1': 'one', '--http2-prior-knowledge': 'two' };
    for (const [version, name] of Object.entries(word)) {
      const path = `/api/2.0/mlflow-artifacts/artifacts/curl/${name}.bin`;
      const words = ['-sS', '--fail', version, '-H', 'Expect: 100-continue', '-H', `Authorization: Bearer ${tokens.alice}`, '-T', sent, `${door}${path}`];
      const { code, err } = await scene.run('curl', words);
      same(`curl's exit code (${err.trim()})`, code, 0);
      expect((await ask(direct.mlflow, path)).bytes.equals(bytes), 'other bytes have arrived');
    }
  });
  const paths = [
    '/version',
    '/api/2.0/mlflow/experiments/search?max_results=50',
    '/api/2.0/mlflow/experiments/get-by-name?experiment_name=no%2Fsuch%20thing',
    '/api/2.0/mlflow-artifacts/artifacts?path=1',
    '/api/2.0/mlflow/runs/get?run_id=nothing',
    '/nothing/here',
    '/',
  ];
  for (const path of paths) {
    await check(`mlflow: GET ${path} is the server's own answer`, async () => {
      alike(await scene.get(`/mlflow${path}`), await ask(direct.mlflow, path));
    });
  }
  await check('mlflow: its page loads with what it names, by addresses relative to its own', async () => {
    const page = await scene.get('/mlflow/');
    const named = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
    expect(named.length > 0 && !named.some((path) => path.startsWith('/')), `it names ${named.join()}`);
    for (const path of named) {
      const url = new URL(path, `${base}/mlflow/`);
      alike(await scene.get(url.pathname), await ask(direct.mlflow, url.pathname.replace('/mlflow', '')));
    }
  });
  const awkward = { 'an encoded slash': '/a%2Fb', 'two slashes': '/a//b', 'an encoded percent': '/100%25.txt', 'an encoded backslash': '/a%5Cb', 'an encoded tabulator': '/a%09b', 'an encoded dot': '/a%2Eb', 'two dots': '/a/../b' };
  for (const [what, path] of Object.entries(awkward)) {
    await check(`mlflow: ${what} in a path is refused at the door, by policy`, async () => {
      taps.mlflow.forget();
      problem(await scene.get(`/mlflow/api/2.0/mlflow-artifacts/artifacts${path}`), 400, 'request.invalid_path');
      same('what came to the server', taps.mlflow.requests().filter((request) => !health(request)).length, 0);
    });
  }
}
