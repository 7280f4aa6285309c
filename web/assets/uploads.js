// One file to storage: a single PUT, or parts in parallel that survive a cut line, a pause and a reload.

import { ApiError, call } from "./api.js";
import { sleep } from "./dom.js";

const PARALLEL = 3; // parts of one file
const TRIES = 6;
const FIRST_PAUSE = 400; // ms, doubled at each try
const SIGNED_AT_ONCE = 100; // parts, the API's limit
const KEPT = "tessera.uploads";

/**
 * What is needed to go on after a reload. The file itself cannot be kept: it is asked for again, and known by its
 * name, size and date.
 * @typedef {{fileName: string, uploadId: string, key: string, partSize: number, name: string, size: number,
 *   modified: number, sent: number}} Unfinished
 */

/** @returns {Record<string, Unfinished>} */
const load = () => JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
/** @param {Record<string, Unfinished>} all */
const keep = (all) => sessionStorage.setItem(KEPT, JSON.stringify(all));
/** @param {{name: string, size: number, lastModified: number}} file */
const identity = (file) => `${file.name}|${file.size}|${file.lastModified}`;

export const unfinished = {
  all: () => Object.values(load()),
  /** @param {File} file @returns {Unfinished | undefined} */
  find: (file) => load()[identity(file)],
  /** @param {File} file @param {Unfinished} upload */
  keep(file, upload) {
    keep({ ...load(), [identity(file)]: upload });
  },
  /** @param {Unfinished} upload */
  forget(upload) {
    keep(Object.fromEntries(Object.entries(load()).filter(([, kept]) => kept.uploadId !== upload.uploadId)));
  },
  /** Frees the parts in storage too. @param {Unfinished} upload */
  async abort(upload) {
    this.forget(upload);
    await call("/v1/uploads/abort", { uploadId: upload.uploadId, key: upload.key });
  },
};

/**
 * Sends a file; returns the name by which a task can use it.
 * @param {File} file
 * @param {string} type
 * @param {(sent: number) => void} progress in bytes
 * @param {AbortSignal} signal pauses: a later call goes on with the parts that are missing
 * @returns {Promise<string>}
 */
export async function send(file, type, progress, signal) {
  const begun = await resumed(file, signal);
  if (begun) return sendParts(file, begun.upload, begun.urls, begun.done, progress, signal);
  const wish = { originalFileName: file.name, fileType: type, fileSize: file.size };
  const ticket = await call("/get-upload-url", wish, { signal });
  if (!ticket.uploadId) {
    await tried(() => put(ticket.uploadURL, file, progress, signal), signal);
    return ticket.fileName;
  }
  const { fileName, uploadId, key, partSize } = ticket;
  const upload = { fileName, uploadId, key, partSize, name: file.name, size: file.size, modified: file.lastModified, sent: 0 };
  unfinished.keep(file, upload);
  /** @type {Map<number, string>} */
  const urls = new Map(ticket.parts.map((/** @type {any} */ part) => [part.PartNumber, part.url]));
  return sendParts(file, upload, urls, new Map(), progress, signal);
}

/** The upload that an earlier attempt began, with the parts that storage has. @param {File} file @param {AbortSignal} signal */
async function resumed(file, signal) {
  const upload = unfinished.find(file);
  if (!upload) return null;
  try {
    const listed = await call("/v1/uploads/parts/list", { uploadId: upload.uploadId, key: upload.key }, { signal });
    /** @type {Map<number, string>} */
    const done = new Map(listed.parts.map((/** @type {any} */ part) => [part.PartNumber, part.ETag]));
    const missing = numbers(upload).filter((number) => !done.has(number));
    return { upload, done, urls: await signed(upload, missing, signal) };
  } catch (error) {
    if (!(error instanceof ApiError) || error.status < 400 || error.status >= 500 || error.status === 401) throw error;
    unfinished.forget(upload); // it has expired: from the beginning then
    return null;
  }
}

/** @param {Unfinished} upload @returns {number[]} */
const numbers = (upload) => Array.from({ length: Math.ceil(upload.size / upload.partSize) }, (_, index) => index + 1);

/** @param {Unfinished} upload @param {number[]} wanted @param {AbortSignal} signal @returns {Promise<Map<number, string>>} */
async function signed(upload, wanted, signal) {
  const urls = new Map();
  for (let first = 0; first < wanted.length; first += SIGNED_AT_ONCE) {
    const partNumbers = wanted.slice(first, first + SIGNED_AT_ONCE);
    const answer = await call("/v1/uploads/parts", { uploadId: upload.uploadId, key: upload.key, partNumbers }, { signal });
    for (const part of answer.parts) urls.set(part.PartNumber, part.url);
  }
  return urls;
}

/**
 * @param {File} file @param {Unfinished} upload @param {Map<number, string>} urls of the missing parts
 * @param {Map<number, string>} done ETags by number @param {(sent: number) => void} progress @param {AbortSignal} signal
 */
async function sendParts(file, upload, urls, done, progress, signal) {
  const waiting = [...urls.keys()].sort((one, other) => one - other);
  const slice = (/** @type {number} */ number) => file.slice((number - 1) * upload.partSize, number * upload.partSize);
  const sent = new Map([...done.keys()].map((number) => [number, slice(number).size]));
  const tell = () => progress([...sent.values()].reduce((sum, bytes) => sum + bytes, 0));
  tell();
  // The first part that fails for good ends the others.
  const broken = new AbortController();
  const either = AbortSignal.any([signal, broken.signal]);

  const lane = async () => {
    for (let number = waiting.shift(); number !== undefined; number = waiting.shift()) {
      const part = number;
      const etag = await tried(
        () => put(/** @type {string} */ (urls.get(part)), slice(part), (bytes) => { sent.set(part, bytes); tell(); }, either),
        either,
        async () => { for (const [at, url] of await signed(upload, [part], either)) urls.set(at, url); },
      );
      done.set(part, etag);
      const bytes = [...done.keys()].reduce((sum, at) => sum + slice(at).size, 0);
      unfinished.keep(file, { ...upload, sent: bytes });
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL }, lane));
  } catch (error) {
    broken.abort(error);
    throw error;
  }
  const parts = [...done].map(([PartNumber, ETag]) => ({ PartNumber, ETag }));
  await call("/complete-multipart-upload", { uploadId: upload.uploadId, key: upload.key, parts }, { signal });
  unfinished.forget(upload);
  return upload.fileName;
}

/**
 * @template T
 * @param {() => Promise<T>} attempt @param {AbortSignal} signal
 * @param {() => Promise<void>} [renew] after a refusal, which may be a link that has expired
 * @returns {Promise<T>}
 */
async function tried(attempt, signal, renew) {
  for (let count = 1; ; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError) || count >= TRIES) throw error;
      if (error.code === "upload_expired") {
        if (!renew) throw error;
        await renew();
      }
      await sleep(FIRST_PAUSE * 2 ** (count - 1) * (0.75 + Math.random() / 2), signal);
    }
  }
}

/**
 * A PUT with progress, which fetch does not have.
 * @param {string} url @param {Blob} body @param {(sent: number) => void} progress @param {AbortSignal} signal
 * @returns {Promise<string>} the ETag
 */
function put(url, body, progress, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    signal.addEventListener("abort", stop, { once: true });
    request.onloadend = () => signal.removeEventListener("abort", stop);
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onabort = () => reject(signal.reason);
    request.onerror = () => reject(new ApiError("upload_failed", "the connection was cut", 0));
    request.onload = () => {
      if (request.status >= 300) {
        return reject(new ApiError(request.status === 403 ? "upload_expired" : "upload_failed", "storage refused", request.status));
      }
      progress(body.size);
      resolve(request.getResponseHeader("ETag") ?? "");
    };
    request.open("PUT", url);
    request.send(body);
  });
}
