// Tries a running server with the real client: node check.mjs URL STAFF_TOKEN VIEWER_TOKEN
// Needs socket.io-client 4.8.4, and somebody who adjusts stock meanwhile. Says what it saw, and
// ends with 1 when something is wrong.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url, staff, viewer] = process.argv.slice(2);
const within = (what, promise, ms = 15_000) =>
  Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error(`${what} did not come`)), ms).unref())]);
const once = (socket, event) => within(event, new Promise((yes) => socket.once(event, yes)));
const open = (auth, options = {}) => io(url, { auth, forceNew: true, reconnectionDelay: 50, ...options });

async function follows(name, options) {
  const socket = open({ token: staff }, options);
  let began;
  socket.io.once("open", () => (began = socket.io.engine.transport.name));
  const ready = await once(socket, "ready");
  const positions = [];
  socket.on("inventory:update", (event) => positions.push(event.position));
  for (let count = 0; count < 3; count++) await once(socket, "inventory:update");
  const ended = socket.io.engine.transport.name;
  assert.deepEqual([began, ended], name === "upgrade" ? ["polling", "websocket"] : [name, name]);
  assert.deepEqual(positions, [...positions].sort((a, b) => a - b));
  assert.ok(positions[0] > ready.position);
  assert.deepEqual(ready.rooms[0], "role:staff");
  socket.disconnect();
  console.log(`${name}: positions ${positions}`);
}

await follows("websocket", { transports: ["websocket"] });
await follows("polling", { transports: ["polling"] });
await follows("upgrade", {});

const summary = open({ token: viewer }, { transports: ["websocket"] });
const short = await once(summary, "inventory:summary");
assert.ok(!("data" in short) && !("quantity" in short));
summary.disconnect();
console.log("viewer: no amounts");

for (const transports of [["websocket"], ["polling"]]) {
  const refused = open({ token: "nonsense" }, { transports });
  const error = await once(refused, "connect_error");
  assert.equal(error.data.code, "request.unauthenticated");
  // A refusal is final for the client until it is told to try again, with another token.
  refused.auth = { token: staff };
  refused.connect();
  await once(refused, "ready");
  refused.disconnect();
  console.log(`refused over ${transports}: ${error.message}; let in with another token`);
}

for (const transports of [["websocket"], ["polling"]]) {
  let last;
  const seen = [];
  const socket = open((give) => give({ token: staff, lastPos: last }), { transports });
  socket.on("inventory:update", ({ epoch, position }) => {
    last = { epoch, position };
    seen.push(position);
  });
  socket.on("resync", (why) => assert.fail(`resync: ${why.reason}`));
  await once(socket, "ready");
  for (let drop = 0; drop < 5; drop++) {
    for (let count = 0; count < 3; count++) await once(socket, "inventory:update");
    const back = once(socket, "ready");
    socket.io.reconnectionDelay(500);
    socket.io.engine.close();
    await back;
  }
  assert.equal(new Set(seen).size, seen.length, "no repetition");
  for (let at = 1; at < seen.length; at++) assert.ok(seen[at] > seen[at - 1], "in order");
  const answer = await within("ack", socket.timeout(5_000).emitWithAck("auth:refresh", { token: staff }));
  assert.equal(answer.ok, true);
  const other = await within("ack", socket.timeout(5_000).emitWithAck("auth:refresh", { token: viewer }));
  assert.deepEqual([other.ok, other.code], [false, "live.other_caller"]);
  socket.disconnect();
  console.log(`resumed over ${transports}: ${seen.length} events, positions ${seen[0]} to ${seen.at(-1)}`);
}

if (process.env.REVOKE) {
  const { writeFileSync } = await import("node:fs");
  for (const transports of [["websocket"], ["polling"]]) {
    const socket = open({ token: staff }, { transports });
    await once(socket, "ready");
    const back = once(socket, "ready");
    writeFileSync(process.env.REVOKE, "");
    const began = Date.now();
    const reason = await once(socket, "disconnect");
    console.log(`revoked over ${transports}: ${reason} after ${Date.now() - began} ms, active ${socket.active}`);
    assert.ok(socket.active, "the client connects again by itself");
    await back;
    socket.disconnect();
  }
}
console.log("well");
process.exit(0);
