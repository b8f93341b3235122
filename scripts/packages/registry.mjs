// A registry of this process's own, and what installers must be told to use it and nothing else.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { manifestOf } from "./inspect.mjs";

/** Starts a registry that has these tarballs and nothing behind it; what installers keep is below `folder`. */
export async function startRegistry(folder, tarballs) {
  const files = new Map(tarballs.map((tarball) => [`/${basename(tarball)}`, readFileSync(tarball)]));
  const documents = new Map();
  const server = createServer(({ url }, response) => {
    const path = decodeURIComponent(url);
    const found = files.get(path) ?? documents.get(path);
    response.writeHead(found ? 200 : 404, { "content-type": files.has(path) ? "application/octet-stream" : "application/json" }).end(found ?? "{}");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${server.address().port}`;
  for (const tarball of tarballs) {
    const manifest = manifestOf(tarball);
    const { name, version } = manifest;
    const file = `/${basename(tarball)}`;
    const hashed = (algorithm, encoding) => createHash(algorithm).update(files.get(file)).digest(encoding);
    const dist = { tarball: `http://${host}${file}`, integrity: `sha512-${hashed("sha512", "base64")}`, shasum: hashed("sha1", "hex") };
    documents.set(`/${name}`, JSON.stringify({ name, "dist-tags": { latest: version }, versions: { [version]: { ...manifest, dist } } }));
  }
  return { env: environment(folder, `http://${host}/`), stop: () => void server.close().closeAllConnections() };
}

/** The environment without the user's own settings, caches and scripts of packages. */
function environment(folder, registry) {
  const own = Object.entries(process.env).filter(([name]) => !/^(npm|yarn|pnpm)_|^(RESNET_NATIVE_|NODE_OPTIONS|CI$)/i.test(name));
  return {
    ...Object.fromEntries(own),
    npm_config_registry: registry,
    NPM_CONFIG_REGISTRY: registry, // Deno's
    npm_config_userconfig: join(folder, "npmrc"),
    npm_config_globalconfig: join(folder, "npmrc-global"),
    npm_config_cache: join(folder, "npm"),
    npm_config_ignore_scripts: "true",
    npm_config_audit: "false",
    npm_config_fund: "false",
    npm_config_update_notifier: "false",
    npm_config_store_dir: join(folder, "pnpm"),
    npm_config_cache_dir: join(folder, "pnpm-cache"),
    BUN_INSTALL_CACHE_DIR: join(folder, "bun"),
    DENO_DIR: join(folder, "deno"),
    YARN_CACHE_FOLDER: join(folder, "yarn"),
    YARN_GLOBAL_FOLDER: join(folder, "yarn-berry"),
    YARN_NPM_REGISTRY_SERVER: registry,
    YARN_UNSAFE_HTTP_WHITELIST: "127.0.0.1",
    YARN_ENABLE_SCRIPTS: "false",
    YARN_ENABLE_TELEMETRY: "false",
    YARN_ENABLE_GLOBAL_CACHE: "false",
    YARN_NPM_MINIMAL_AGE_GATE: "0",
  };
}

/** Runs a program; its error has what it wrote. */
export async function run(program, args, options) {
  // On Windows npm is a batch file, which only a shell runs.
  const shell = process.platform === "win32" && program !== process.execPath;
  return promisify(execFile)(program, args, { ...options, shell, maxBuffer: 1e8 }).catch((error) => {
    throw new Error(`${[program, ...args].join(" ")} in ${options.cwd}:\n${error.stdout}${error.stderr}`, { cause: error });
  });
}
