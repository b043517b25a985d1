// Verifies one access token again and again with `jose`, when a line on the input says how often,
// and answers with the microseconds that it took. Not for measuring anything else of Node.
import { createInterface } from "node:readline";
import { importJWK, jwtVerify } from "jose";

let token, key;
const rules = { issuer: "portico", audience: "portico", typ: "at+jwt", algorithms: ["ES256"] };

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  if (question.token) {
    token = question.token;
    key = await importJWK(question.jwk, "ES256");
    console.log(JSON.stringify({ version: process.versions.node }));
    continue;
  }
  const began = process.hrtime.bigint();
  const before = process.cpuUsage();
  for (let number = 0; number < question.count; number++) {
    await jwtVerify(token, key, rules);
  }
  const used = process.cpuUsage(before);
  const wall = Number(process.hrtime.bigint() - began) / 1000;
  console.log(JSON.stringify({ wall, cpu: used.user + used.system }));
}
