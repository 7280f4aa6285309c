// What the page says: numbers, times, and for every error what happened and what to do about it.

/** @typedef {{title: string, todo: string}} Words */

/** By the API's error codes (functions/upscayl/errors.py, functions/native) and the page's own, in lower case. */
export const ERRORS = {
  UNAUTHORIZED: ["This key is not valid", "Check it for missing characters, or ask whoever runs this service for a new one."],
  INSUFFICIENT_CREDITS: ["Not enough credits", "Choose fewer photos, or ask whoever runs this service for more credits. Nothing was charged."],
  RATE_LIMIT_EXCEEDED: ["Too many requests", "Wait a little and try again. What is already running goes on."],
  NOT_FOUND: ["This is not there any more", "It was deleted or has expired. Choose the photo again to enlarge it once more."],
  BAD_REQUEST: ["The service refused this request", "Change the options or the photo and try again."],
  MISSING_REQUIRED_FIELDS: ["The service missed a part of the request", "Reload the page: it may be older than the service."],
  INVALID_FILE_TYPE: ["This kind of file is not accepted", "Save it as JPEG, PNG or WebP and choose it again."],
  FILE_SIZE_EXCEEDED: ["This file is too large", "Save it smaller, for example as JPEG with quality 90, and choose it again."],
  IDEMPOTENCY_CONFLICT: ["This photo was already sent with other options", "Choose it again to enlarge it with the new ones."],
  UPLOAD_INCOMPLETE: ["The upload is not complete", "Press Try again: what has arrived is kept."],
  UPLOADS_SPENT: ["No more photos can be sent by this link", "Ask whoever gave you the link for a new one."],
  INTERNAL_SERVER_ERROR: ["Something went wrong in the service", "Try again. If it stays so, tell whoever runs it, with the time."],
  offline: ["The service cannot be reached", "Check your connection. The page goes on by itself when it is back."],
  not_a_picture: ["This is not a picture, or it is damaged", "Open it in a viewer to check. JPEG, PNG and WebP can be enlarged."],
  wrong_type: ["This kind of file cannot be enlarged", "Choose JPEG, PNG or WebP."],
  upload_failed: ["The upload broke off", "Check your connection and press Try again: what has arrived is kept."],
  upload_expired: ["The upload took too long", "Its time is over. Press Try again to start it once more."],
  empty: ["This file is empty", "Choose another one."],
};

/**
 * @param {{code?: string, message?: string}} error
 * @returns {Words}
 */
export function explain(error) {
  const [title, todo] = ERRORS[error.code ?? ""] ?? ["Something unexpected happened", "Reload the page and try again."];
  const told = error.code === "BAD_REQUEST" || !((error.code ?? "") in ERRORS) ? reason(error.message) : "";
  return { title: told || title, todo };
}

/** The part of the API's words that says why. @param {string | undefined} message */
function reason(message) {
  const cut = (message ?? "").replace(/^(Invalid request parameters provided|Bad Request):?\s*/, "");
  return cut ? cut[0].toUpperCase() + cut.slice(1) : "";
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** @param {number} width @param {number} height */
export const pixels = (width, height) => `${width.toLocaleString("en")}\u00a0×\u00a0${height.toLocaleString("en")}`;

/** @param {number} count */
export const megapixels = (count) => `${(count / 1e6).toFixed(count < 1e7 ? 1 : 0)} megapixels`;

/** @param {number} count @param {string} one @param {string} [many] */
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 90) return counted(Math.max(1, Math.round(seconds)), "second");
  if (seconds < 90 * 60) return counted(Math.round(seconds / 60), "minute");
  if (seconds < 36 * 3600) return counted(Math.round(seconds / 3600), "hour");
  return counted(Math.round(seconds / 86400), "day");
}

/** @param {number} expires Unix milliseconds */
export function countdown(expires) {
  const left = (expires - Date.now()) / 1000;
  return left > 0 ? `deleted in ${duration(left)}` : "deleted";
}

/** @param {number} moment Unix milliseconds */
export const time = (moment) => new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
