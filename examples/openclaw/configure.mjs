// Writes ~/.openclaw/openclaw.json: what the operator decides is set at every
// start, what the user chose is kept.
//
// Environment, all from tidegate.toml:
//   OPENCLAW_USER        the one person this gateway belongs to, as the relay names them
//   OPENCLAW_ORIGINS     where their browser comes from, separated by commas
//   OPENCLAW_MODEL_URL   base URL of the model upstream, as seen inside
//   OPENCLAW_MODEL_API   openai-completions | openai-responses | anthropic-messages
//   OPENCLAW_MODEL       model id as the upstream knows it
//   PORT                 where the gateway listens
import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The address that tidegate dials from: the only proxy that is believed. */
const GATEWAY_ADDRESS = "100.64.0.1";

/** What the operator decides. Whatever the file says about these is replaced. */
export function decided(env) {
  const user = required(env, "OPENCLAW_USER");
  const model = required(env, "OPENCLAW_MODEL");
  return {
    gateway: {
      mode: "local",
      bind: "loopback",
      port: Number(env.PORT ?? 18789),
      // tidegate's authentication is the login. A request without the relay's
      // headers, or from another address than the relay's, is refused.
      auth: {
        mode: "trusted-proxy",
        identityScopes: { [user]: ["operator.admin"] },
        trustedProxy: {
          userHeader: "x-forwarded-user",
          requiredHeaders: ["x-forwarded-proto", "x-forwarded-host"],
          allowUsers: [user],
          deviceAutoApprove: {
            enabled: true,
            scopes: [
              "operator.read",
              "operator.write",
              "operator.approvals",
              "operator.questions",
            ],
          },
        },
      },
      trustedProxies: [GATEWAY_ADDRESS],
      controlUi: { allowedOrigins: required(env, "OPENCLAW_ORIGINS").split(",") },
    },
    // There is no network to look around in, and the installation is read-only.
    discovery: { mdns: { mode: "off" } },
    update: { checkOnStart: false },
    models: {
      catalogRefresh: { enabled: false },
      providers: {
        tidegate: {
          baseUrl: required(env, "OPENCLAW_MODEL_URL"),
          // The real key is added by the gateway, outside; this one opens nothing.
          apiKey: "added-by-the-gateway",
          api: required(env, "OPENCLAW_MODEL_API"),
          models: [
            {
              id: model,
              name: model,
              reasoning: false,
              input: ["text"],
              cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
              contextWindow: 128000,
              maxTokens: 4096,
            },
          ],
        },
      },
    },
    logging: { file: path.join(required(env, "HOME"), ".openclaw", "logs", "gateway.log") },
  };
}

/** What a new user starts with. Whatever the file says about these is kept. */
export function suggested(env) {
  return {
    agents: {
      defaults: {
        model: { primary: `tidegate/${required(env, "OPENCLAW_MODEL")}` },
        // A heartbeat would call the model by itself every half hour.
        heartbeat: { every: "0m" },
        skipBootstrap: true,
      },
    },
    models: { mode: "replace" },
  };
}

/** `over` laid over `under`, objects key by key; neither is changed. */
export function merge(under, over) {
  if (!isObject(under) || !isObject(over)) return over;
  const merged = { ...under };
  for (const [key, value] of Object.entries(over)) {
    merged[key] = Object.hasOwn(under, key) ? merge(under[key], value) : value;
  }
  return merged;
}

/** The whole configuration for a user whose file says `own`. */
export function effective(own, env) {
  const merged = merge(merge(suggested(env), own), decided(env));
  // These name people: they are replaced whole, or a former user would stay in.
  merged.gateway.auth = decided(env).gateway.auth;
  // A model that no longer exists would leave the user without an answer.
  const primary = merged.agents?.defaults?.model?.primary;
  if (typeof primary === "string" && primary.startsWith("tidegate/")) {
    merged.agents.defaults.model.primary = suggested(env).agents.defaults.model.primary;
  }
  return merged;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function required(env, name) {
  const value = env[name];
  if (!value) throw new Error(`${name} is not set: the template in tidegate.toml sets it`);
  return value;
}

/** The user's file as it stands. OpenClaw accepts JSON5, so do we. */
function read(file) {
  if (!existsSync(file)) return {};
  const text = readFileSync(file, "utf8");
  try {
    const json5 = createRequire(new URL("./app/node_modules/", import.meta.url))("json5");
    const own = json5.parse(text);
    if (isObject(own)) return own;
    throw new Error("it is not an object");
  } catch (problem) {
    // With a file that it cannot read OpenClaw would not start, and the user
    // could not repair it from within.
    const aside = `${file}.unreadable-${Date.now()}`;
    renameSync(file, aside);
    console.error(`${file} could not be read (${problem.message}): kept as ${aside}, started afresh`);
    return {};
  }
}

function main() {
  const file = path.join(required(process.env, "HOME"), ".openclaw", "openclaw.json");
  const configuration = effective(read(file), process.env);
  mkdirSync(path.dirname(configuration.logging.file), { recursive: true });
  // Whole or not at all: a stop may come at any moment.
  const fresh = `${file}.new`;
  writeFileSync(fresh, `${JSON.stringify(configuration, null, 2)}\n`, { mode: 0o600 });
  renameSync(fresh, file);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
