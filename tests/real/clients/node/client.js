// Sends records with @fluent-org/logger as its options say, and prints how many were accepted.
"use strict";
const { FluentClient } = require("@fluent-org/logger");

let said = false;
function say(accepted, errors) {
  if (!said) console.log(JSON.stringify({ accepted, errors: [...new Set(errors)] }));
  said = true;
}
// A connection that is refused settles no promise: the process just has nothing to do any more.
process.on("exit", () => say(0, ["never settled"]));

async function main({ count, options, padding }) {
  if (options.socket.tls && options.socket.tls.ca) {
    options.socket.tls.ca = require("fs").readFileSync(options.socket.tls.ca);
  }
  const client = new FluentClient("node", { disableAutoconnect: true, ...options });
  client.socketOn("error", (error) => console.error(String(error)));
  await client.connect();
  const sent = [];
  for (let number = 0; number < count; number += 1) {
    sent.push(client.emit("app", { n: number, text: "größer".repeat(padding), list: [1, null, true], deep: { x: 1.5 } }));
  }
  const results = await Promise.allSettled(sent);
  const accepted = results.filter((one) => one.status === "fulfilled").length;
  say(accepted, results.filter((one) => one.reason).map((one) => one.reason.name));
  // With something unacknowledged it would wait for ever.
  if (accepted === count) await client.shutdown();
  process.exit(0);
}

main(JSON.parse(process.argv[2])).catch((error) => say(0, [error.name || String(error)]));
