// A TypeScript client that openapi-typescript and openapi-fetch make of Portico's document: generated,
// compiled with everything strict, and run. Reads from standard input where the server and its document
// are, as `cargo xtask conformance typescript` writes it. Not for what the program does.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import openapiTS, { astToString } from 'openapi-typescript';

import { check, expect, finish } from './counting.mjs';

const LIMIT_MS = 240_000;
setTimeout(() => {
  console.log(`FAIL suite: not over after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS).unref();

let text = '';
for await (const part of process.stdin) text += part;
const given = JSON.parse(text);

/** Compiles as the configuration says, and returns what the compiler wrote. */
function compile(configuration) {
  const compiler = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
  const run = spawnSync(process.execPath, [compiler, '--project', configuration], { encoding: 'utf8' });
  return { status: run.status, text: `${run.stdout}${run.stderr}` };
}

await check('the types are generated from the document', async () => {
  const document = JSON.parse(readFileSync(given.document, 'utf8'));
  const types = astToString(await openapiTS(document));
  writeFileSync('api.d.ts', types);
  expect(types.includes('"/api/inventory/{id}/adjust"'), 'a path is missing');
  expect(types.includes('inventory_adjust_item'), 'an operation is missing');
});
await check('the program compiles, strictly', async () => {
  const { status, text } = compile('tsconfig.json');
  expect(status === 0, text);
});
await check('what the document forbids does not compile', async () => {
  const { status, text } = compile('tsconfig.wrong.json');
  const lines = new Set([...text.matchAll(/wrong\.ts\((\d+),/g)].map((match) => Number(match[1])));
  const marked = readFileSync('wrong.ts', 'utf8').split('\n').flatMap((line, at) => (line.includes('// wrong') ? [at + 1] : []));
  expect(status !== 0, 'it compiles');
  for (const line of marked) expect(lines.has(line), `line ${line} of wrong.ts compiles: ${text}`);
  expect(lines.size === marked.length, `other lines are refused too: ${text}`);
});
await check('the program runs to its end', async () => {
  const { run } = await import('./made/program.js');
  await run(given, check);
});
finish();
