// The servers behind the front door, each as its authors ship it. `node servers.mjs` starts them all and ends them
// together; what each needs is in README.md. Not for the door: gateway.toml is.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

/** The ports of gateway.toml. */
export const PORTS = { mlflow: 5000, shop: 3001, ticker: 3002, echo: 3003, files: 8081, issuer: 9000 };

/** Returns what to start: program, arguments and a path that is answered when it is ready. */
export function servers({ ports = PORTS, python = join(here, '.venv/bin/python'), nginx = 'nginx' } = {}) {
  mkdirSync(join(here, 'data'), { recursive: true });
  mkdirSync(join(here, 'temp'), { recursive: true });
  const script = (name, port) => ({ command: 'node', words: [join(here, name), String(port)] });
  const store = ['--backend-store-uri', `sqlite:///${join(here, 'data/mlflow.db')}`, '--artifacts-destination', join(here, 'data/artifacts')];
  const shop = fileURLToPath(import.meta.resolve('json-server/lib/cli/bin.js'));
  return {
    mlflow: {
      command: python,
      words: ['-m', 'mlflow', 'server', '--host', '127.0.0.1', '--port', String(ports.mlflow), '--workers', '1', ...store],
      ready: '/health',
    },
    shop: { command: 'node', words: [shop, '--host', '127.0.0.1', '--port', String(ports.shop), '--quiet', 'shop.json'], ready: '/db' },
    ticker: { ...script('ticker.mjs', ports.ticker), ready: '/' },
    echo: { ...script('echo.mjs', ports.echo), ready: '/' },
    files: { command: nginx, words: ['-p', here, '-c', join(here, 'nginx.conf'), '-e', 'stderr'], ready: '/' },
    issuer: { ...script('issuer.mjs', ports.issuer), ready: '/jwks' },
  };
}

/** Starts one. */
export function start({ command, words }, options = {}) {
  // A group of its own: some servers are several processes.
  return spawn(command, words, { cwd: here, stdio: 'inherit', detached: true, ...options });
}

/** Ends one with all its processes. */
export function end(child, signal = 'SIGTERM') {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended by itself.
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const running = Object.values(servers()).map((server) => start(server));
  const stop = () => running.forEach((child) => end(child));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop);
  for (const child of running) child.on('exit', stop).on('error', stop);
}
