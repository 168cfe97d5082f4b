// `npm run setup`: what `npm start` does before it starts the server, for a machine that is to be a worker.
import { makeReady } from "./lib/ready.mjs";
import { main, say } from "./lib/terminal.mjs";

await main(async () => {
  await makeReady();
  say("Ready: `npx caisson` works here, and `npx caisson doctor` tells what this machine can do.");
});
