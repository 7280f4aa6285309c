// All results as one zip: straight to the disk where the browser lets a page do that, by memory elsewhere.

import { save } from "./dom.js";
import { downloadZip } from "./vendor/client-zip-2.5.1.js";

const NAME = "tessera.zip";

/** @param {import("./item.js").Item[]} items that are done @param {(count: number) => void} progress */
export async function saveAll(items, progress) {
  const picker = /** @type {any} */ (window).showSaveFilePicker;
  const target = picker && (await picker({ suggestedName: NAME, types: [{ accept: { "application/zip": [".zip"] } }] }));
  const zip = downloadZip(entries(items, progress));
  if (target) return zip.body?.pipeTo(await target.createWritable());
  const address = URL.createObjectURL(await zip.blob());
  save(address, NAME);
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** @param {import("./item.js").Item[]} items @param {(count: number) => void} progress */
async function* entries(items, progress) {
  const taken = new Set();
  let count = 0;
  for (const item of items) {
    const input = await fetch(await item.link(), { referrerPolicy: "no-referrer" });
    if (!input.ok) throw new Error(`${item.file.name}: storage answered ${input.status}`);
    yield { name: unused(item.result.processedFileName, taken), input, lastModified: new Date() };
    progress((count += 1));
  }
}

/** photo.jpg, photo (2).jpg ... @param {string} name @param {Set<string>} taken */
function unused(name, taken) {
  const dot = name.lastIndexOf(".");
  let free = name;
  for (let count = 2; taken.has(free); count += 1) free = `${name.slice(0, dot)} (${count})${name.slice(dot)}`;
  taken.add(free);
  return free;
}
