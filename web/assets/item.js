// One photo of the list, from the file to the result: its state, its row, and what can be done with it.

import { ApiError, call } from "./api.js";
import { announce, el, fill, icon, save } from "./dom.js";
import { measure, typeOf } from "./files.js";
import { send, unfinished } from "./uploads.js";
import { countdown, explain, megapixels, pixels, size } from "./words.js";

const UPLOADS_AT_ONCE = 3;
const LINK_LIFE = 10 * 60_000; // ms; a link is asked for again after that: the key that signed it may be gone

/**
 * @typedef {"reading" | "refused" | "chosen" | "waiting" | "uploading" | "paused" | "starting" | "queued" | "enlarging" |
 *   "done" | "failed" | "cancelled" | "deleted"} State
 */

const WORDS = {
  reading: "Looking at it",
  refused: "Cannot be enlarged",
  chosen: "Ready",
  waiting: "Waits for the photos before it",
  uploading: "Uploading",
  paused: "Paused",
  starting: "Starting",
  queued: "Waits for its turn",
  enlarging: "Enlarging",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled, not charged",
  deleted: "Deleted",
};

/** Lets so many through at a time, in order. */
class Gate {
  /** @param {number} places */
  constructor(places) {
    this.free = places;
    /** @type {(() => void)[]} */
    this.queue = [];
  }

  /** @template T @param {() => Promise<T>} work @param {AbortSignal} signal @returns {Promise<T>} */
  async through(work, signal) {
    if (this.free > 0) this.free -= 1;
    else await new Promise((resolve) => this.queue.push(() => resolve(undefined)));
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      const next = this.queue.shift();
      if (next) next();
      else this.free += 1;
    }
  }
}
const gate = new Gate(UPLOADS_AT_ONCE);

const PAUSED = "paused";
const CANCELLED = "cancelled";

export class Item {
  /**
   * @param {File} file
   * @param {{changed: (item: Item) => void, started: (item: Item) => void, compare: (item: Item) => void,
   *   removed: (item: Item) => void, partThreshold: () => number, maxFileBytes: () => number}} hooks
   */
  constructor(file, hooks) {
    this.file = file;
    this.hooks = hooks;
    this.type = typeOf(file);
    this.address = URL.createObjectURL(file); // the picture before, and the row's first thumbnail
    /** @type {State} */
    this.state = "reading";
    this.width = this.height = this.sent = this.percent = 0;
    /** @type {{title: string, todo: string} | null} */
    this.problem = null;
    /** Of the estimate: the pixels of the result. @type {{width: number, height: number} | null} */
    this.expected = null;
    /** @type {Record<string, any>} */
    this.options = {};
    this.fileName = this.taskId = this.once = "";
    this.eager = false; // starts as soon as it can: a sample, an upload that was interrupted
    /** The file's part of the task's status, once it is done. @type {any} */
    this.result = null;
    this.linked = 0;
    this.abort = new AbortController();
    this.build();
  }

  async read() {
    if (!this.file.size) return this.refuse("empty");
    if (!this.type) return this.refuse("wrong_type");
    if (this.file.size > this.hooks.maxFileBytes()) return this.refuse("FILE_SIZE_EXCEEDED");
    const found = await measure(this.address);
    if (!found) return this.refuse("not_a_picture");
    Object.assign(this, found);
    this.to("chosen");
  }

  /** @param {string} code @param {string} [message] */
  refuse(code, message) {
    this.problem = explain({ code, message });
    this.to("refused");
  }

  /** What the estimate says about it. @param {{accepted: boolean, reason: string | null, width: number, height: number}} answer */
  estimated(answer) {
    this.expected = answer.accepted ? { width: answer.width, height: answer.height } : null;
    this.problem = answer.accepted ? null : { title: answer.reason ?? "Too large", todo: "Choose a smaller scale or photo." };
    this.render();
  }

  /** Uploads and starts it, from wherever it has come to. @param {Record<string, any>} [options] of POST /v1/tasks */
  async run(options = this.options) {
    this.options = options;
    this.problem = null;
    this.abort = new AbortController();
    const { signal } = this.abort;
    try {
      if (!this.fileName) {
        this.to("waiting");
        this.fileName = await gate.through(() => this.upload(signal), signal);
      }
      this.to("starting");
      this.once ||= crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
      const started = await call("/v1/tasks", { files: [{ fileName: this.fileName }], ...options }, { once: this.once });
      this.taskId = started.taskId;
      this.to("queued");
      if (signal.aborted) await this.cancelTask(); // pressed while the start was under way
      this.hooks.started(this);
    } catch (error) {
      if (signal === this.abort.signal) this.stopped(error); // else it was started again meanwhile
    }
  }

  /** @param {AbortSignal} signal */
  upload(signal) {
    this.to("uploading");
    const progress = (/** @type {number} */ sent) => {
      this.sent = Math.min(sent, this.file.size);
      this.render();
    };
    return send(this.file, /** @type {string} */ (this.type), progress, signal);
  }

  /** @param {any} error */
  stopped(error) {
    if (error === PAUSED) return this.to("paused");
    if (error === CANCELLED) return this.to("cancelled");
    if (!(error instanceof ApiError)) console.error(error);
    if (error.status >= 400 && error.status < 500 && error.status !== 401 && error.status !== 402) {
      this.fileName = this.once = ""; // the upload is not usable: from the beginning
    }
    this.problem = explain(error);
    this.to("failed");
    if (error.code === "UNAUTHORIZED") dispatchEvent(new Event("tessera:key"));
  }

  pause() {
    this.abort.abort(PAUSED);
  }

  async cancel() {
    const begun = this.state === "paused" || this.state === "uploading" ? unfinished.find(this.file) : undefined;
    this.abort.abort(CANCELLED);
    if (this.taskId) return this.guarded(() => this.cancelTask());
    this.to("cancelled");
    if (begun) await this.guarded(() => unfinished.abort(begun));
  }

  async cancelTask() {
    await call("/v1/tasks/cancel", { taskId: this.taskId });
    if (this.open) this.to("cancelled");
  }

  async delete() {
    await this.guarded(async () => {
      await call("/v1/tasks/delete", { taskId: this.taskId });
      this.to("deleted");
    });
  }

  /** From the beginning, as another task. */
  again() {
    if (this.taskId) this.fileName = this.once = this.taskId = "";
    this.percent = this.sent = 0;
    return this.run();
  }

  remove() {
    if (this.state === "paused") this.cancel();
    URL.revokeObjectURL(this.address);
    this.hooks.removed(this);
  }

  async download() {
    await this.guarded(async () => save(await this.link(), this.result.processedFileName));
  }

  /** A link that has some time to live. */
  async link() {
    if (Date.now() - this.linked > LINK_LIFE) this.take(await call("/get-task-status", { taskId: this.taskId }));
    if (!this.result?.downloadLink) throw new ApiError("NOT_FOUND", "expired", 404);
    return this.result.downloadLink;
  }

  /** Errors of a button are told in the row. @param {() => Promise<any>} work */
  async guarded(work) {
    try {
      await work();
    } catch (error) {
      this.problem = explain(/** @type {any} */ (error));
      this.render();
    }
  }

  /** The state that the service tells. @param {any} status of /get-task-status */
  take(status) {
    const file = status.files[0];
    this.percent = Number(status.progress);
    if (file.status === "completed") {
      const first = !this.result;
      this.result = file;
      this.linked = Date.now();
      if (first) this.to("done");
      return;
    }
    if (file.status === "failed" || status.status === "failed") {
      const why = String(file.error ?? status.error ?? "");
      if (/^cancell?ed/i.test(why) || /cancel/i.test(status.status)) return this.to("cancelled");
      this.problem = { title: why || "It could not be enlarged", todo: "It was not charged. Check the photo, or try other options." };
      return this.to("failed");
    }
    if (file.status === "cancelled" || status.status === "cancelled") return this.to("cancelled");
    this.to(file.status === "processing" ? "enlarging" : "queued");
  }

  get open() {
    return ["queued", "enlarging"].includes(this.state);
  }

  get busy() {
    return ["waiting", "uploading", "starting", "queued", "enlarging"].includes(this.state);
  }

  /** @param {State} state */
  to(state) {
    const changed = state !== this.state;
    this.state = state;
    this.render();
    if (!changed) return;
    if (!["reading", "chosen", "starting", "queued", "waiting"].includes(state)) {
      announce(`${this.file.name}: ${WORDS[state]}${this.problem ? `. ${this.problem.title}` : ""}`);
    }
    this.hooks.changed(this);
  }

  // ---------------------------------------------------------------- its row

  build() {
    this.thumb = el("img", { class: "thumb", alt: "", src: this.type ? this.address : "assets/icon.svg" });
    this.thumb.onerror = () => this.thumb.removeAttribute("src");
    this.facts = el("p", { class: "facts quiet" });
    this.bar = el("progress", { max: 100, "aria-label": `Progress of ${this.file.name}`, hidden: true });
    this.wrong = el("p", { class: "problem", hidden: true });
    this.actions = el("div", { class: "actions" });
    const middle = el("div", { class: "middle" }, el("p", { class: "name" }, this.file.name), this.facts, this.bar, this.wrong);
    this.row = el("li", { class: "item" }, this.thumb, middle, this.actions);
    this.render();
  }

  render() {
    const { state, row } = this;
    row.dataset.state = state;
    fill(this.facts, ...this.describe());
    this.bar.hidden = !this.busy && state !== "paused";
    const share = state === "uploading" || state === "paused" ? (100 * this.sent) / this.file.size : this.percent;
    if (state === "waiting" || state === "starting" || (state === "queued" && !share)) this.bar.removeAttribute("value");
    else this.bar.value = share;
    this.wrong.hidden = !this.problem;
    if (this.problem) fill(this.wrong, el("strong", {}, this.problem.title), " ", this.problem.todo);
    this.renderActions();
  }

  /** @returns {(string | Node)[]} */
  describe() {
    const sides = this.width ? pixels(this.width, this.height) : "";
    if (this.state === "done") {
      const { dimensions, finalFileSize, expiresAt } = this.result;
      const facts = [`${sides} → ${pixels(dimensions.width, dimensions.height)}`, size(finalFileSize)];
      return [facts.join(" · ") + " · ", el("span", { "data-expires": expiresAt }, countdown(expiresAt))];
    }
    const state = WORDS[this.state];
    if (this.state === "uploading" || this.state === "paused") {
      return [`${state} · ${size(this.sent)} of ${size(this.file.size)}`];
    }
    if (this.state === "enlarging") return [`${state} · ${this.percent} %`];
    if (this.state === "chosen") {
      const target = this.expected ? ` → ${pixels(this.expected.width, this.expected.height)}` : "";
      return [`${sides}${target} · ${size(this.file.size)}`];
    }
    return [[sides, size(this.file.size), state].filter(Boolean).join(" · ")];
  }

  renderActions() {
    const offered = this.offered();
    const signature = offered.map(([words]) => words).join("|");
    if (signature === this.actions.dataset.offered) return;
    const focused = this.actions.contains(document.activeElement);
    this.actions.dataset.offered = signature;
    fill(this.actions, ...offered.map(([words, symbol, act, main]) => {
      const label = el("span", { class: main ? "" : "label" }, words);
      const what = `${words}: ${this.file.name}`;
      return el("button", { type: "button", class: main ? "" : "plain", "aria-label": what, title: words, onclick: () => act() }, icon(symbol), label);
    }));
    if (focused) this.actions.querySelector("button")?.focus();
  }

  /** @returns {[string, string, () => any, boolean?][]} */
  offered() {
    const remove = /** @type {[string, string, () => any]} */ (["Remove", "cross", () => this.remove()]);
    const cancel = /** @type {[string, string, () => any]} */ (["Cancel", "cross", () => this.cancel()]);
    switch (this.state) {
      case "uploading":
        return this.file.size > this.hooks.partThreshold() ? [["Pause", "pause", () => this.pause()], cancel] : [cancel];
      case "paused":
        return [["Continue", "play", () => this.run(), true], cancel];
      case "waiting":
      case "starting":
      case "queued":
      case "enlarging":
        return [cancel];
      case "done":
        return [
          ["Compare", "split", () => this.hooks.compare(this), true],
          ["Download", "down", () => this.download(), true],
          ["Delete now", "bin", () => this.delete()],
        ];
      case "failed":
      case "cancelled":
        return [["Try again", "play", () => this.again(), true], remove];
      default:
        return [remove];
    }
  }
}

/** @param {Item[]} items that have an estimate */
export const outputPixels = (items) =>
  megapixels(items.reduce((sum, { expected }) => sum + (expected ? expected.width * expected.height : 0), 0));
