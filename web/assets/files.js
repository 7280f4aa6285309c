// Where photos come from: dropped, chosen, pasted; folders are walked.

const TYPES = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", webp: "image/webp" };
const NOISE = /^(\.|Thumbs\.db$|desktop\.ini$)/i; // what systems leave in folders

/** The type that the service is told. @param {File} file @returns {string | null} null: not one that it takes */
export function typeOf(file) {
  const suffix = file.name.split(".").pop()?.toLowerCase() ?? "";
  const type = file.type || TYPES[suffix] || "";
  return Object.values(TYPES).includes(type) ? type : null;
}

/** Every file of a drop, those in folders too. @param {DataTransfer} transfer @returns {Promise<File[]>} */
export async function dropped(transfer) {
  // The entries have to be taken before the first await: the transfer is empty after the event.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = await Promise.all(entries.map((entry) => walk(/** @type {FileSystemEntry} */ (entry))));
  return tidy(found.flat());
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function walk(entry) {
  if (entry.isFile) {
    return [await new Promise((resolve, reject) => /** @type {any} */ (entry).file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // readEntries gives a hundred at a time, and none at the end
    const some = /** @type {FileSystemEntry[]} */ (await new Promise((resolve, reject) => reader.readEntries(resolve, reject)));
    if (!some.length) return found.flat();
    found.push(...(await Promise.all(some.map(walk))));
  }
}

/** @param {Iterable<File>} files @returns {File[]} by name, without what systems leave in folders */
export function tidy(files) {
  return [...files]
    .filter((file) => !NOISE.test(file.name))
    .sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
}

/**
 * Width and height as the browser shows it, upright.
 * @param {string} address
 * @returns {Promise<{width: number, height: number} | null>} null: the browser cannot read it
 */
export function measure(address) {
  return new Promise((resolve) => {
    const picture = new Image();
    picture.onload = () => resolve({ width: picture.naturalWidth, height: picture.naturalHeight });
    picture.onerror = () => resolve(null);
    picture.src = address;
  });
}
