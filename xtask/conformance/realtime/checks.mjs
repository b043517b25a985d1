// What the checks of this suite have in common. Not for counting, which all suites do alike.

import { expect } from './counting.mjs';

export * from './counting.mjs';

/** Waits until `seen` returns something that is not undefined, false or null, and returns it. */
export async function eventually(what, seen, limit = 10_000) {
  const began = now();
  for (;;) {
    const found = await seen();
    if (found) return found;
    expect(now() - began < limit, `${what}: not within ${limit} ms`);
    await pause(20);
  }
}

/** Returns milliseconds that only grow: the date may be set while the suite runs. */
export const now = () => performance.now();

/** Waits. */
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
