// Counts checks and prints one line for each: `ok NAME`, `FAIL NAME: why`, and `note TEXT` for what
// is worth knowing and neither. Ends with one line of JSON, which `cargo xtask conformance` reads.
// Not for what is checked.

const counts = { passed: 0, failed: 0 };

/** Runs one check; whatever it throws is why it failed. */
export async function check(name, work) {
  try {
    await work();
    counts.passed += 1;
    console.log(`ok ${name}`);
  } catch (error) {
    counts.failed += 1;
    console.log(`FAIL ${name}: ${String(error?.message ?? error).replace(/\s+/g, ' ')}`);
  }
}

/** Prints something that is neither right nor wrong. */
export function note(text) {
  console.log(`note ${text}`);
}

/** Throws unless it holds. */
export function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

/** Throws unless the two are the same text or number. */
export function same(what, actual, expected) {
  expect(actual === expected, `${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
}

/** Throws unless the answer has this status. */
export function answered(answer, ...statuses) {
  const code = answer.json?.code ? ` (${answer.json.code})` : '';
  expect(statuses.includes(answer.status), `answered ${answer.status}${code}, not ${statuses.join(' or ')}`);
}

/** Prints the last line and says with the exit code how it went. */
export function finish() {
  console.log(JSON.stringify(counts));
  process.exitCode = counts.failed === 0 ? 0 : 1;
}
