// A personal data server and a directory of the AT protocol on loopback. Run in the folder with node_modules.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const from = createRequire(join(process.cwd(), "package.json"));
const { TestNetworkNoAppView } = await import(pathToFileURL(from.resolve("@atproto/dev-env")).href);
await TestNetworkNoAppView.create({
  pds: { port: Number(process.env.PDS_PORT) },
  plc: { port: Number(process.env.PLC_PORT) },
});
process.stdout.write("ready\n");
