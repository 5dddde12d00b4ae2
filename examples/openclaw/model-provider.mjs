// A model provider for trying things out: it speaks the OpenAI chat completions
// API, needs no account, and answers word by word like a real one.
//
//   node model-provider.mjs [--listen 127.0.0.1:19999] [--key KEY] [--delay MILLISECONDS]
//
// It prints `listening on http://ADDRESS:PORT` when it does. With --key, requests
// without `Authorization: Bearer KEY` get a 401, as from a real provider.
import { timingSafeEqual } from "node:crypto";
import http from "node:http";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:19999" },
    key: { type: "string" },
    delay: { type: "string", default: "30" },
  },
});
const MODEL = "tide-1";
const MAX_BODY = 8 * 1024 * 1024;

/** What it has to say about the last message of a person. */
function answer(messages) {
  const said = lastWords(messages);
  return `You said: ${said} -- and I am a small model that runs beside your gateway, outside of your sandbox.`;
}

function lastWords(messages) {
  const said = messages.filter((message) => message.role === "user").map(typed).filter(Boolean);
  return said.at(-1)?.slice(0, 400) ?? "nothing";
}

/** What the person typed in a message, without the notes that OpenClaw puts around it. */
function typed({ content }) {
  const text = Array.isArray(content)
    ? content.filter((part) => part.type === "text").map((part) => part.text).join("\n")
    : String(content ?? "");
  return text
    .replace(/<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>[\s\S]*?<<<END_OPENCLAW_INTERNAL_CONTEXT>>>/g, "")
    .replace(/^\[[^\]]*\][^\n]*\n```json\n[\s\S]*?\n```\n/, "")
    .replace(/\n\nRuntime: [^\n]*$/, "")
    .trim();
}

function authorised(request) {
  if (options.key === undefined) return true;
  const given = Buffer.from(request.headers.authorization ?? "");
  const wanted = Buffer.from(`Bearer ${options.key}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function reply(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function refuse(response, status, message) {
  reply(response, status, { error: { message, type: "invalid_request_error" } });
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new Error("the request is larger than 8 MiB");
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let answered = 0;

async function complete(request, response) {
  const asked = await read(request);
  if (!Array.isArray(asked.messages)) return refuse(response, 400, "`messages` is missing");
  const text = answer(asked.messages);
  const id = `chatcmpl-${++answered}`;
  const created = Math.floor(Date.now() / 1000);
  const words = text.match(/\S+\s*/g) ?? [];
  const usage = { prompt_tokens: 1, completion_tokens: words.length, total_tokens: words.length + 1 };
  if (!asked.stream) {
    const message = { role: "assistant", content: text };
    return reply(response, 200, {
      id, created, model: MODEL, object: "chat.completion", usage,
      choices: [{ index: 0, message, finish_reason: "stop" }],
    });
  }
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const send = (delta, finish_reason = null) =>
    response.write(`data: ${JSON.stringify({
      id, created, model: MODEL, object: "chat.completion.chunk",
      choices: [{ index: 0, delta, finish_reason }],
    })}\n\n`);
  send({ role: "assistant", content: "" });
  for (const word of words) {
    if (response.destroyed) return;
    send({ content: word });
    await pause(Number(options.delay));
  }
  send({}, "stop");
  if (asked.stream_options?.include_usage) {
    const last = { id, created, model: MODEL, object: "chat.completion.chunk", choices: [], usage };
    response.write(`data: ${JSON.stringify(last)}\n\n`);
  }
  response.end("data: [DONE]\n\n");
}

const server = http.createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url, "http://model");
    if (!authorised(request)) return refuse(response, 401, "incorrect API key provided");
    if (request.method === "GET" && pathname === "/v1/models") {
      return reply(response, 200, { object: "list", data: [{ id: MODEL, object: "model" }] });
    }
    if (request.method === "POST" && pathname === "/v1/chat/completions") {
      return await complete(request, response);
    }
    refuse(response, 404, `${request.method} ${pathname} is not something this provider answers`);
  } catch (problem) {
    if (response.headersSent) response.destroy();
    else refuse(response, 400, problem.message);
  }
});

const split = options.listen.lastIndexOf(":");
server.listen(Number(options.listen.slice(split + 1)), options.listen.slice(0, split), () => {
  const { address, port } = server.address();
  console.log(`listening on http://${address}:${port}`);
});
server.on("error", (problem) => {
  console.error(`cannot listen on ${options.listen}: ${problem.message}`);
  process.exit(2);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
