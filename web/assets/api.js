// The service's HTTP API: docs/dialects/upscayl.md and /v1.

import { sleep } from "./dom.js";

const TRIES = 5;
const FIRST_PAUSE = 500; // ms, doubled at each try
const LONGEST_PAUSE = 20_000; // ms
const KEY = "tessera.key";

export class ApiError extends Error {
  /** @param {string} code @param {string} message @param {number} status @param {number} [retryAfter] seconds */
  constructor(code, message, status, retryAfter) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The key lives in this tab's session storage and nowhere else. */
export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  /** @param {string} value */
  set: (value) => sessionStorage.setItem(KEY, value),
  clear: () => sessionStorage.removeItem(KEY),
  /** Takes `#key=...`, as `make serve` prints it, out of the address bar. */
  takeFromAddress() {
    const given = new URLSearchParams(location.hash.slice(1)).get("key");
    if (given === null) return false;
    history.replaceState(null, "", location.pathname + location.search);
    if (given) this.set(given);
    return Boolean(given);
  },
};

let base = "";

/** Where the API is: the page's own origin, or what config.json beside the page says. */
export async function configure() {
  const answer = await fetch("config.json");
  if (answer.ok) base = ((await answer.json()).api ?? "").replace(/\/$/, "");
}

/** @param {string} path of the API @returns {string} */
export const address = (path) => base + path;

/**
 * One call, tried again while the service cannot be reached, is busy or broken. Every call here can be repeated:
 * those that make something carry an Idempotency-Key.
 * @param {string} path
 * @param {object} [body] without one it is a GET
 * @param {{once?: string, signal?: AbortSignal, tries?: number}} [how]
 * @returns {Promise<any>} the `data` of the answer, or the answer where it has none
 */
export async function call(path, body, { once, signal, tries = TRIES } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await callOnce(path, body, once, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || attempt >= tries || !passing(error)) throw error;
      const pause = (error.retryAfter ?? 0) * 1000 || FIRST_PAUSE * 2 ** (attempt - 1);
      if (pause > LONGEST_PAUSE) throw error;
      await sleep(pause * (0.75 + Math.random() / 2), signal);
    }
  }
}

/** @param {ApiError} error */
const passing = (error) => error.code === "offline" || error.status === 429 || error.status >= 500;

/** @param {string} path @param {object | undefined} body @param {string} [once] @param {AbortSignal} [signal] */
async function callOnce(path, body, once, signal) {
  /** @type {Record<string, string>} */
  const headers = { "X-API-Key": key.get() };
  if (body) headers["Content-Type"] = "application/json";
  if (once) headers["Idempotency-Key"] = once;
  let answer;
  try {
    answer = await fetch(address(path), {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      signal,
      cache: "no-store",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("offline", "no answer", 0);
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said.data && !said.pagination ? said.data : said;
  const code = said.error ?? (answer.status === 429 ? "RATE_LIMIT_EXCEEDED" : "INTERNAL_SERVER_ERROR");
  throw new ApiError(code, said.message ?? "", answer.status, Number(answer.headers.get("Retry-After")) || undefined);
}
