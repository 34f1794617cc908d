// Serves the rsshub package (a library) as the web server that it is made of. Run in the folder with node_modules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const from = createRequire(join(process.cwd(), "package.json"));
const { serve } = from("@hono/node-server");
const main = join(process.cwd(), "node_modules/rsshub/dist-lib/pkg.mjs");
const name = /import\("\.\/(app-[\w-]+\.mjs)"\)/.exec(readFileSync(main, "utf8"))[1];
const app = (await import(pathToFileURL(join(dirname(main), name)).href)).default;
serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(process.env.PORT) });
