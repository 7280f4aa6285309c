// Serves the page, and does what needs the API key: makes upload tokens, starts tasks, asks for their status.
// A real one knows its users: whoever may load this page may spend the account's credits.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const { TESSERA_URL = "http://127.0.0.1:8000", TESSERA_KEY = "test", PORT = "8080" } = process.env;

const FILES = {
  "/": ["index.html", "text/html"],
  "/build/main.js": ["build/main.js", "text/javascript"],
  "/build/main.css": ["build/main.css", "text/css"],
};
const CALLS = {
  "/token": ["/v1/upload-tokens", () => ({ count: 20, exact: true, expiresIn: 3600 })],
  "/start": ["/start-task", ({ files }) => ({ files, scale: "2", saveImageAs: "webp" })],
  "/status": ["/get-task-status", ({ taskId }) => ({ taskId })],
};

async function serve(request) {
  if (request.method === "GET" && Object.hasOwn(FILES, request.url)) {
    const [name, type] = FILES[request.url];
    return [200, type, await readFile(new URL(name, import.meta.url))];
  }
  if (request.method === "POST" && Object.hasOwn(CALLS, request.url)) {
    const [path, body] = CALLS[request.url];
    const asked = JSON.parse(Buffer.concat(await request.toArray()).toString());
    const answer = await fetch(TESSERA_URL + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-API-Key": TESSERA_KEY },
      body: JSON.stringify(body(asked)),
    });
    return [answer.status, "application/json", await answer.text()];
  }
  return [404, "text/plain", "not found"];
}

const server = createServer(async (request, response) => {
  try {
    const [status, type, body] = await serve(request);
    response.writeHead(status, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
  } catch (error) {
    console.error(error);
    response.writeHead(500, { "Content-Type": "application/json" }).end(JSON.stringify({ message: "failed" }));
  }
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
