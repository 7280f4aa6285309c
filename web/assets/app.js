// The page: files in, a list of photos, one poll loop, and everything else wired to its place in index.html.

import { ApiError, address, call, configure, key } from "./api.js";
import { Compare } from "./compare.js";
import { announce, byId, el, fill, icon, sleep } from "./dom.js";
import { dropped, tidy } from "./files.js";
import { History } from "./history.js";
import { Item, outputPixels } from "./item.js";
import { Options } from "./options.js";
import * as theme from "./theme.js";
import { unfinished } from "./uploads.js";
import { countdown, counted, duration, explain, size } from "./words.js";

const FIRST_POLL = 500; // ms between two rounds of status reads, growing while nothing changes
const LONGEST_POLL = 5_000;
const HIDDEN_POLL = 15_000; // while the tab is not looked at
const GROWTH = 1.3;
const ESTIMATE_AFTER = 200; // ms of quiet
const SAVING = 5_000; // ms
const TICK = 10_000; // ms

/** @type {Item[]} */
let items = [];
/** @type {any} */
let account = null;
/** @type {Options | null} */
let options = null;
let compared = false; // the first result is shown by itself
const compare = new Compare(byId("compare"));
const past = new History();

const hooks = {
  changed: () => update(),
  started: () => poll.begin(),
  compare: (/** @type {Item} */ item) => compare.show(item, true),
  removed(/** @type {Item} */ item) {
    const at = items.indexOf(item);
    items = items.filter((other) => other !== item);
    if (compare.item === item) compare.close();
    item.row.remove();
    (items[Math.min(at, items.length - 1)]?.row.querySelector("button") ?? byId("choose-files")).focus();
    update();
    estimate();
  },
  // until they are known, the service itself refuses what is too large
  partThreshold: () => account?.limits.partThreshold ?? Infinity,
  maxFileBytes: () => account?.limits.maxFileBytes ?? Infinity,
};

// ---------------------------------------------------------------- files in

/** @param {Iterable<File>} files @param {boolean} [eager] start at once, as they are */
async function add(files, eager = false) {
  const added = [...files].map((file) => new Item(file, hooks));
  if (!added.length) return;
  for (const item of added) item.eager = eager;
  items.push(...added);
  byId("list").append(...added.map((item) => item.row));
  update();
  announce(`${counted(added.length, "photo")} added`);
  await Promise.all(added.map((item) => item.read()));
  for (const item of added) item.eager ||= Boolean(unfinished.find(item.file));
  startEager();
  showUnfinished();
  estimate();
}

function listenForFiles() {
  for (const [button, input] of [["choose-files", "files"], ["choose-folder", "folder"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", () => {
      add(tidy([...byId(input).files]));
      byId(input).value = "";
    });
  }
  byId("sample").addEventListener("click", trySample);
  let depth = 0; // of dragenter: children fire it too
  const over = (/** @type {boolean} */ is) => byId("drop").classList.toggle("over", is);
  addEventListener("dragenter", () => over((depth += 1) > 0));
  addEventListener("dragleave", () => over((depth -= 1) > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    over(Boolean((depth = 0)));
    if (event.dataTransfer) add(await dropped(event.dataTransfer));
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) add(event.clipboardData.files);
  });
}

async function trySample() {
  const answer = await fetch("assets/lighthouse.jpg");
  const file = new File([await answer.blob()], "lighthouse.jpg", { type: "image/jpeg", lastModified: 0 });
  await add([file], true);
  if (!key.get()) askForKey();
}

// ---------------------------------------------------------------- start, cost, progress

/** @param {Record<string, any>} chosen */
function start(chosen) {
  for (const item of items.filter(startable)) item.run(chosen);
}

/** Those that wait for nobody to press the button; where the key is not known yet, they start when it is. */
function startEager() {
  for (const item of items) if (item.eager && options && startable(item)) item.run(options.values());
}

/** @param {Item} item */
const startable = (item) => item.state === "chosen" && !item.problem;

let asked = 0;
/** What the photos that are chosen will cost; only the newest question is answered. */
async function estimate() {
  const mine = (asked += 1);
  const chosen = items.filter((item) => item.state === "chosen");
  if (!options || !account) return;
  if (!chosen.length) return options.show(0, null, account.credits);
  await sleep(ESTIMATE_AFTER);
  if (mine !== asked) return;
  const { model, scale, saveImageAs } = options.values();
  /** @type {{credits: number, seconds: number | null}} */
  const total = { credits: 0, seconds: 0 };
  try {
    for (let first = 0; first < chosen.length; first += account.limits.maxFilesPerTask) {
      const some = chosen.slice(first, first + account.limits.maxFilesPerTask);
      const files = some.map(({ width, height }) => ({ width, height }));
      const answer = await call("/v1/estimate", { files, model, scale, saveImageAs });
      if (mine !== asked) return;
      some.forEach((item, index) => item.estimated(answer.files[index]));
      total.credits += answer.credits;
      total.seconds = total.seconds === null || answer.seconds === null ? null : total.seconds + answer.seconds;
    }
  } catch (error) {
    return notice(error);
  }
  const ready = chosen.filter(startable);
  options.show(ready.length, { ...total, pixels: outputPixels(ready) }, account.credits);
}

const poll = {
  running: false,
  /** One loop, one request at a time, however many photos there are. */
  async begin() {
    if (this.running) return;
    this.running = true;
    let pause = FIRST_POLL;
    while (items.some((item) => item.open)) {
      await sleep(document.hidden ? HIDDEN_POLL : pause);
      pause = Math.min(LONGEST_POLL, pause * GROWTH);
      for (const item of items.filter((item) => item.open)) {
        const before = `${item.state} ${item.percent}`;
        await this.ask(item);
        if (`${item.state} ${item.percent}` !== before) pause = FIRST_POLL;
      }
    }
    this.running = false;
    refresh();
  },
  /** @param {Item} item */
  async ask(item) {
    try {
      item.take(await call("/get-task-status", { taskId: item.taskId }));
      notice(null);
    } catch (error) {
      if (error instanceof ApiError && error.code === "NOT_FOUND") return item.to("deleted");
      notice(error);
      await sleep(LONGEST_POLL);
    }
    if (item.state === "done" && !compared) {
      compared = true;
      compare.show(item, false);
    }
  },
};

function update() {
  const count = (/** @type {string[]} */ ...states) => items.filter((item) => states.includes(item.state)).length;
  const done = count("done");
  byId("work").hidden = items.length === 0;
  byId("drop").classList.toggle("small", items.length > 0);
  byId("options").hidden = !options || !items.some((item) => ["reading", "chosen"].includes(item.state));
  byId("work").classList.toggle("single", byId("options").hidden);
  const parts = [done && `${done} done`, count("failed", "refused") && `${count("failed", "refused")} with a problem`];
  byId("list-count").textContent = [counted(items.length, "photo"), ...parts.filter(Boolean)].join(", ");
  byId("zip").hidden = done < 2;
  byId("clear").hidden = items.some((item) => item.busy) || !items.length || !items.some((item) => item.state !== "chosen");
  const busy = items.filter((item) => item.busy).length;
  document.title = busy ? `(${counted(busy, "photo")}) Tessera` : "Tessera - photos, large";
  if (options && account && !items.some((item) => item.state === "chosen")) options.show(0, null, account.credits);
  showUnfinished();
  past.leaveOut(new Set(items.map((item) => item.taskId)));
}

// ---------------------------------------------------------------- notices, interrupted uploads

/** @param {any} error null takes the notice away */
function notice(error) {
  const place = byId("notices");
  if (!error) return place.replaceChildren();
  if (error.code === "UNAUTHORIZED") return askForKey(error);
  if (!(error instanceof ApiError)) console.error(error);
  const { title, todo } = explain(error);
  fill(place, el("p", { class: "notice", role: "alert" }, icon("warn"), el("span", {}, el("strong", {}, title), " ", todo)));
}

function showUnfinished() {
  const running = new Set(items.filter((item) => item.busy || item.state === "paused").map((item) => item.file.name));
  const waiting = unfinished.all().filter((upload) => !running.has(upload.name));
  byId("unfinished").hidden = waiting.length === 0;
  fill(byId("unfinished-list"), ...waiting.map((upload) => el("li", {},
    el("span", {}, el("strong", {}, upload.name), ` ${size(upload.sent)} of ${size(upload.size)} have arrived`),
    el("button", {
      type: "button", class: "plain", "aria-label": `Forget it: ${upload.name}`,
      onclick: () => unfinished.abort(upload).catch(notice).finally(showUnfinished),
    }, "Forget it"))));
}

// ---------------------------------------------------------------- key and account

/** @param {any} [error] of the key that is there */
function askForKey(error) {
  byId("key-section").hidden = false;
  byId("notices").replaceChildren();
  fill(byId("key-problem"), error ? `${explain(error).title}. ${explain(error).todo}` : "");
  byId("key").setAttribute("aria-invalid", String(Boolean(error)));
  byId("key").focus();
}

function listenForKey() {
  byId("key-open").addEventListener("click", () => {
    if (byId("key-section").hidden) askForKey();
    else byId("key-section").hidden = true;
  });
  byId("key-form").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    key.set(byId("key").value.trim());
    enter();
  });
  addEventListener("hashchange", () => key.takeFromAddress() && enter());
  addEventListener("tessera:key", () => askForKey({ code: "UNAUTHORIZED" }));
}

/** With the key that is there: what the account has, what the service offers, what was done before. */
async function enter() {
  if (!key.get()) return askForKey();
  try {
    const offer = call("/v1/models");
    offer.catch(() => undefined); // told by the other call
    account = await call("/v1/account");
    options = new Options(fresh(byId("options")), await offer, { changed: estimate, start });
  } catch (error) {
    return notice(error);
  }
  byId("key-section").hidden = true;
  byId("key").value = "";
  notice(null);
  showAccount();
  startEager();
  update();
  estimate();
  past.load().catch(notice);
}

/** The form without the listeners of another key's options. @param {HTMLElement} form */
function fresh(form) {
  const copy = /** @type {HTMLFormElement} */ (form.cloneNode(false));
  form.replaceWith(copy);
  return copy;
}

function showAccount() {
  byId("credits").hidden = false;
  byId("credits").textContent = counted(account.credits, "credit");
  byId("retention").textContent = `Results are deleted after ${duration(account.retentionSeconds)}.`;
}

/** After the last photo: credits were spent, and the history is longer. */
async function refresh() {
  try {
    account = await call("/v1/account");
    showAccount();
    await past.load();
  } catch (error) {
    notice(error);
  }
}

// ---------------------------------------------------------------- everything together

async function downloadAll() {
  const button = byId("zip");
  const done = items.filter((item) => item.state === "done");
  button.disabled = true;
  try {
    const { saveAll } = await import("./zip.js");
    await saveAll(done, (count) => announce(`${count} of ${done.length} packed`));
  } catch (error) {
    if (/** @type {Error} */ (error).name !== "AbortError") notice(error); // the dialog was closed
  } finally {
    button.disabled = false;
  }
}

function tick() {
  for (const node of document.querySelectorAll("[data-expires]")) {
    node.textContent = countdown(Number(/** @type {HTMLElement} */ (node).dataset.expires));
  }
}

theme.begin();
key.takeFromAddress();
listenForFiles();
listenForKey();
byId("zip").addEventListener("click", downloadAll);
byId("clear").addEventListener("click", () => {
  for (const item of items.filter((item) => item.state !== "chosen")) item.remove();
});
addEventListener("tessera:deleted", (event) => {
  const { detail } = /** @type {CustomEvent} */ (event);
  items.find((item) => item.taskId === detail)?.to("deleted");
});
let saving = 0; // a link that saves looks to the browser like leaving the page, until storage has answered
addEventListener("click", ({ target }) => {
  if (/** @type {Element} */ (target).closest("a[download]")) saving = Date.now();
}, true);
addEventListener("beforeunload", (event) => {
  if (Date.now() - saving < SAVING) return;
  if (items.some((item) => item.state === "uploading" || item.state === "waiting")) event.preventDefault();
});
setInterval(tick, TICK);
showUnfinished();
configure().then(() => {
  byId("reference").href = address("/reference");
  return enter();
}).catch(notice);
