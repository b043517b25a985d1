// The generated collection in the hands of newman, Postman's own runner. Reads from standard input where
// the server and the collection are, as `cargo xtask conformance newman` writes it. One check for each
// request: all of its assertions. Not for what is asserted; the collection says that.

import { readFileSync } from 'node:fs';

import newman from 'newman';

import { check, finish, note } from './counting.mjs';

const LIMIT_MS = 300_000;

let text = '';
for await (const part of process.stdin) text += part;
const given = JSON.parse(text);

const variables = { base: given.base, operator: given.operatorToken, webhook_url: given.webhookUrl };
const summary = await new Promise((resolve, reject) => {
  const options = {
    collection: JSON.parse(readFileSync(given.collection, 'utf8')),
    envVar: Object.entries(variables).map(([key, value]) => ({ key, value })),
    reporters: [],
    timeout: LIMIT_MS,
    timeoutRequest: 20_000,
  };
  newman.run(options, (error, summary) => (error ? reject(error) : resolve(summary)));
});

// A request that was asked again until something came about counts once, with what it found last.
const last = new Map();
for (const execution of summary.run.executions) last.set(`${execution.item.id} ${execution.item.name}`, execution);
for (const { item, response, requestError, assertions = [] } of last.values()) {
  if (response === undefined && requestError === undefined) {
    note(`not sent: ${item.name}`);
    continue;
  }
  await check(`${item.name}: ${response?.code ?? 'no answer'}`, async () => {
    if (requestError) throw requestError;
    const failed = assertions.filter((assertion) => assertion.error);
    if (assertions.length === 0) throw new Error('nothing was asserted');
    if (failed.length > 0) {
      const told = failed.map(({ assertion, error }) => `${assertion}: ${error.message}`).join('; ');
      throw new Error(`${told}; ${response.text().slice(0, 300)}`);
    }
  });
}
for (const failure of summary.run.failures.filter((failure) => failure.error?.name !== 'AssertionError')) {
  await check(`script of ${failure.source?.name ?? 'the collection'}`, async () => {
    throw failure.error;
  });
}
finish();
