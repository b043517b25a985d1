// Servers and clients that others wrote, with the front door between them. Reads from standard input what
// `cargo xtask conformance front-door` writes; ends all that it starts. Not for the checks: the sections have them.

import { readFileSync } from 'node:fs';

import { check, finish } from './checks.mjs';
import { events } from './events.mjs';
import { files } from './files.mjs';
import { mlflow } from './mlflow.mjs';
import { overview } from './overview.mjs';
import { reload } from './reload.mjs';
import { Scene } from './scene.mjs';
import { shop } from './shop.mjs';
import { sockets } from './sockets.mjs';

const SECTIONS = { mlflow, shop, events, sockets, files, overview, reload };

const given = JSON.parse(readFileSync(0, 'utf8'));
const scene = new Scene(given);
const wanted = given.only?.split(',') ?? Object.keys(SECTIONS);

try {
  await check('the servers start, and the door that was there before finds them', () => scene.start());
  for (const name of wanted) {
    // A section that breaks off is a failure, and the others still run.
    await SECTIONS[name](scene).catch((error) => check(`section ${name} runs to its end`, () => { throw error; }));
  }
} catch (error) {
  await check('the run', () => { throw error; });
} finally {
  await scene.stop();
}
finish();
setTimeout(() => process.exit(), 1_000).unref();
