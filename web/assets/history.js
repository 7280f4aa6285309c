// What was enlarged before, by whoever has the key, with what is left of its time.

import { call } from "./api.js";
import { byId, el, fill, icon } from "./dom.js";
import { countdown, explain, pixels, size, time } from "./words.js";

const PAGE = 20;
const AGAIN = 5_000; // ms, while a task of before is still open

export class History {
  constructor() {
    this.section = byId("history");
    this.list = byId("history-list");
    this.more = byId("history-more");
    this.next = 0;
    /** Tasks that are shown elsewhere on the page. @type {Set<string>} */
    this.left = new Set();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.more.addEventListener("click", () => this.load(this.next));
  }

  /** @param {number} [before] Unix ms: only what is older */
  async load(before) {
    const wish = { limit: PAGE, ...(before ? { timestampOffset: before } : {}) };
    const page = await call("/get-upscayl-history", wish);
    const rows = page.data.flatMap((/** @type {any} */ task) => task.files.map((/** @type {any} */ file) => this.row(task, file)));
    if (before) this.list.append(...rows);
    else fill(this.list, ...rows);
    this.next = page.pagination.nextOffset;
    this.more.hidden = !page.pagination.hasMore;
    this.leaveOut(this.left);
    clearTimeout(this.timer);
    const open = rows.some((/** @type {HTMLElement} */ row) => !row.hidden && /pending|processing/.test(row.dataset.state ?? ""));
    if (open && !before) this.timer = setTimeout(() => this.load().catch(() => undefined), AGAIN);
  }

  /** Those that the list above shows. @param {Set<string>} tasks */
  leaveOut(tasks) {
    this.left = tasks;
    const rows = /** @type {HTMLElement[]} */ ([...this.list.children]);
    for (const row of rows) row.hidden = tasks.has(row.dataset.task ?? "");
    this.section.hidden = rows.every((row) => row.hidden) && this.more.hidden;
  }

  /** @param {any} task @param {any} file */
  row(task, file) {
    const there = Boolean(file.downloadLink);
    const sides = file.dimensions && pixels(file.dimensions.width, file.dimensions.height);
    const state = { pending: "Waits for its turn", processing: "Enlarging", failed: file.error || "Failed", cancelled: "Cancelled" }[file.status];
    const ended = file.status === "completed" && !there && "Deleted";
    const facts = [time(task.createdAt), sides, file.finalFileSize && size(file.finalFileSize), state || ended].filter(Boolean).join(" · ");
    const problem = el("p", { class: "problem", hidden: true });
    const row = el("li", { class: "item", "data-task": task.taskId, "data-state": there ? "done" : file.status },
      there ? el("img", { class: "thumb", src: file.thumbnailLink, alt: "", loading: "lazy" }) : el("span", { class: "thumb" }),
      el("div", { class: "middle" }, el("p", { class: "name" }, file.processedFileName ?? file.originalFileName ?? file.fileName),
        el("p", { class: "facts quiet" }, facts, there && " · ", there && el("span", { "data-expires": file.expiresAt }, countdown(file.expiresAt))),
        problem),
      el("div", { class: "actions" },
        there && el("a", { class: "button", href: file.downloadLink, download: "", "aria-label": `Download: ${file.processedFileName}` }, icon("down"), el("span", {}, "Download")),
        there && el("button", {
          type: "button", class: "plain", title: "Delete now", "aria-label": `Delete now: ${file.processedFileName}`,
          onclick: () => this.delete(task.taskId, problem),
        }, icon("bin"), el("span", { class: "label" }, "Delete now"))));
    return row;
  }

  /** @param {string} taskId @param {HTMLElement} problem */
  async delete(taskId, problem) {
    try {
      await call("/v1/tasks/delete", { taskId });
      await this.load();
      byId("history-title").focus();
      dispatchEvent(new CustomEvent("tessera:deleted", { detail: taskId }));
    } catch (error) {
      const { title, todo } = explain(/** @type {any} */ (error));
      problem.hidden = false;
      fill(problem, el("strong", {}, title), " ", todo);
    }
  }
}
