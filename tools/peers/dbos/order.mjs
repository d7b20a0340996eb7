// The steps as a DBOS workflow: each step's result is in the system database before the next one begins.
import { createServer } from "node:http";
import { DBOS } from "@dbos-inc/dbos-sdk";
import { charge, complete, reserve } from "./steps.mjs";

async function place(asked) {
  await DBOS.runStep(() => reserve(asked), { name: "reserve" });
  const intent = await DBOS.runStep(() => charge(asked), { name: "charge" });
  await DBOS.runStep(() => complete(asked, intent), { name: "complete" });
  return { order: asked.order };
}
const workflow = DBOS.registerWorkflow(place, { name: "place" });

DBOS.setConfig({ name: "bench", systemDatabaseUrl: process.env.SYSTEM_POSTGRES_URL, systemDatabasePoolSize: 16, runAdminServer: false, logLevel: "warn" });
await DBOS.launch();

const server = createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    try {
      const asked = JSON.parse(Buffer.concat(parts).toString());
      const handle = await DBOS.startWorkflow(workflow, { workflowID: asked.order })(asked);
      const body = JSON.stringify(await handle.getResult());
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
      response.end(body);
    } catch (error) {
      const body = String(error);
      response.writeHead(500, { "content-length": Buffer.byteLength(body) });
      response.end(body);
    }
  });
});
server.listen(Number(process.env.PORT), "127.0.0.1");
