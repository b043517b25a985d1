// Runs http-cache-tests through Portico and through each peer that is installed, against one origin, and compares.
// Reads from standard input: `subject` ({name, command, arguments, files}) and `work` (an empty folder). In arguments
// and files @LISTEN@ and @ORIGIN@ stand for ports and @WORK@ for the folder. Ends all that it starts. Not for judging
// differently than the suite's own pages do.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';

import tests from 'http-cache-tests/tests/index.mjs';
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs';

import { check, expect, finish, note } from './counting.mjs';
import { peers } from './peers.mjs';

const suite = new URL('./node_modules/http-cache-tests/', import.meta.url).pathname;
const given = JSON.parse(readFileSync(0, 'utf8'));
const running = [];

/** Every required test of 0.4.5 that no cache can pass, and why. */
const impossible = new Map(
  ['must-revalidate', 'proxy-revalidate', 'no-cache', 's-maxage=2'].map((directive) => [
    `stale-close-${directive}`,
    'the origin closes the connection, and the test wants a header of the answer that it never sent',
  ]),
);

const all = new Map([...tests, surrogate].flatMap((group) => group.tests).map((test) => [test.id, test]));
const kindOf = (test) => test.kind ?? 'required';

/** Judges as the suite's own pages do: a test counts only where those that it depends on have passed. */
function judge(results, id) {
  const result = results[id];
  if (result === undefined) return 'untested';
  if ((all.get(id).depends_on ?? []).some((other) => judge(results, other) !== 'pass')) return 'depends';
  if (result === true) return 'pass';
  return result[0] === 'Setup' ? 'setup' : 'fail';
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function start(name, command, words, options = {}) {
  const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const said = [];
  child.stdout.on('data', (data) => said.push(data));
  child.stderr.on('data', (data) => said.push(data));
  child.on('error', (error) => said.push(Buffer.from(String(error))));
  running.push(child);
  child.log = () => Buffer.concat(said).toString();
  child.said = () => `${name}: ${child.log().slice(-2000)}`;
  return child;
}

async function answers(port, child) {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const there = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.on('close', () => socket.destroy()).on('connect', () => socket.end());
    });
    if (there) return;
    if (child.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`nothing answers; ${child.said()}`);
}

/** Runs the suite's client against a proxy, in a process of its own: it keeps its results in the module. */
async function run(name, port) {
  const env = { ...process.env, npm_config_base: `http://localhost:${port}`, npm_config_id: '', npm_package_config_id: '' };
  const child = spawn('node', ['--no-warnings', 'cli.mjs'], { cwd: suite, env, stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  const said = [];
  child.stdout.on('data', (data) => said.push(data));
  await once(child, 'close');
  try {
    return JSON.parse(Buffer.concat(said).toString());
  } catch {
    throw new Error(`the suite's client broke off against ${name}`);
  }
}

function tally(results) {
  const counts = {};
  for (const [id, test] of all) {
    if (test.browser_only) continue;
    const kind = (counts[kindOf(test)] ??= { pass: 0, fail: 0, depends: 0, setup: 0, untested: 0, of: 0 });
    kind[judge(results, id)] += 1;
    kind.of += 1;
  }
  return counts;
}

async function main() {
  const originPort = await freePort();
  const env = { ...process.env, npm_config_protocol: 'http', npm_config_port: String(originPort), npm_config_pidfile: `${given.work}/origin.pid` };
  await answers(originPort, start('origin', 'node', ['server/server.mjs'], { cwd: suite, env }));

  const prepare = (fill) => {
    for (const { from, to } of given.subject.files) writeFileSync(fill(to), fill(readFileSync(from, 'utf8')));
  };
  const subjectProxy = { ...given.subject, version: given.subject.name, prepare };
  const proxies = [subjectProxy, ...(await peers(given.work, suite))];
  const ready = [];
  for (const proxy of proxies) {
    const listen = await freePort();
    const places = { '@LISTEN@': listen, '@ORIGIN@': originPort, '@WORK@': given.work };
    const fill = (text) => text.replace(/@[A-Z]+@/g, (place) => places[place] ?? place);
    proxy.prepare?.(fill);
    const child = start(proxy.name, proxy.command, proxy.arguments.map(fill), proxy.options);
    try {
      await answers(listen, child);
      ready.push({ ...proxy, port: listen, child });
    } catch (error) {
      if (proxy.name === given.subject.name) throw error;
      note(`${proxy.name} does not start: ${error.message.replace(/\s+/g, ' ')}`);
    }
  }
  // One after the other: the tests wait for seconds, and a busy machine must not make them wait longer.
  for (const proxy of ready) {
    proxy.results = await run(proxy.name, proxy.port);
    proxy.counts = tally(proxy.results);
  }

  const [subject, ...others] = ready;
  for (const [id, test] of all) {
    if (test.browser_only || kindOf(test) !== 'required') continue;
    if (impossible.has(id)) {
      expect(!ready.some((proxy) => judge(proxy.results, id) === 'pass'), `${id} can be passed after all: take it off the list`);
      continue;
    }
    await check(`required ${id}`, () => {
      const result = subject.results[id];
      expect(judge(subject.results, id) === 'pass', `${judge(subject.results, id)} ${JSON.stringify(result)}`);
    });
  }
  const best = Math.max(89, ...others.map((proxy) => proxy.counts.optimal.pass));
  await check('optimal: at least 89, and as many as the best peer', () => {
    const { pass } = subject.counts.optimal;
    expect(pass >= best, `${pass}, where ${best} were wanted`);
  });
  await check('the log has no error', () => {
    const line = subject.child.log().split('\n').find((line) => /ERROR|panicked/.test(line));
    expect(line === undefined, line);
  });
  for (const [id, why] of impossible) note(`no cache can pass ${id}: ${why}`);
  for (const [id, test] of all) {
    if (kindOf(test) === 'optimal' && !test.browser_only && judge(subject.results, id) !== 'pass') note(`optimal, not passed: ${id}`);
  }
  console.log('\n| cache | required passed | failed | not reached | optimal passed | failed or not reached | check: yes |');
  console.log('|---|---|---|---|---|---|---|');
  for (const { version, counts: { required, optimal, check: checks } } of ready) {
    const missed = required.depends + required.setup + required.untested;
    console.log(
      `| ${version} | ${required.pass} of ${required.of} | ${required.fail} | ${missed} | ${optimal.pass} of ${optimal.of} | ${optimal.of - optimal.pass} | ${checks.pass} of ${checks.of} |`,
    );
  }
  console.log('');
}

try {
  await main();
} catch (error) {
  await check('the run', () => {
    throw error;
  });
} finally {
  for (const child of running) child.kill();
}
finish();
setTimeout(() => process.exit(), 1_000).unref();
