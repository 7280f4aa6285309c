import "@uppy/core/css/style.min.css";
import "@uppy/dashboard/css/style.min.css";

import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import Dashboard from "@uppy/dashboard";
import GoldenRetriever from "@uppy/golden-retriever";

const MiB = 1024 * 1024;
const PART_BYTES = 8 * MiB;
const POLL_MS = 1000;

const token = await uploadToken().catch((error) => {
  say(error.message);
  throw error;
});

const uppy = new Uppy({
  // The token's own limits, so that Uppy says what is wrong with a file before it is sent.
  restrictions: {
    maxFileSize: token.maxBytes,
    maxNumberOfFiles: token.count,
    allowedFileTypes: token.types,
  },
})
  .use(Dashboard, { inline: true, target: "#uppy", height: 360, width: "100%" })
  // After a reload the upload goes on where it was. By default files above 10 MiB are not kept.
  .use(GoldenRetriever, { indexedDB: { maxFileSize: token.maxBytes, maxTotalSize: token.count * token.maxBytes } })
  .use(AwsS3, {
    companionEndpoint: token.companionUrl,
    shouldUseMultipart: (file) => file.size > PART_BYTES, // only what is sent in parts can be paused and resumed
    getChunkSize: () => PART_BYTES,
  });

// With these, storage holds the form, or each part, to what belongs to this file. The token is `exact`: it asks for them.
uppy.on("file-added", (file) => uppy.setFileMeta(file.id, { size: file.size, partSize: PART_BYTES }));

uppy.on("complete", async ({ successful }) => {
  if (successful.length === 0) return;
  // `key` is all that Uppy tells of where a file is; it is what starts a task.
  const files = successful.map((file) => ({
    fileName: file.response.body.key,
    originalFileName: file.name,
    fileType: file.type,
    fileSize: file.size,
  }));
  try {
    show(await enlarged(files));
  } catch (error) {
    say(error.message);
  }
});

/** A token is kept for the tab: after a reload an upload is known to the token that began it, and to no other. */
async function uploadToken() {
  const kept = JSON.parse(sessionStorage.getItem("token") ?? "null");
  if (kept && kept.expiresAt > Date.now()) return kept;
  const token = await ask("/token");
  sessionStorage.setItem("token", JSON.stringify(token));
  return token;
}

async function enlarged(files) {
  const { taskId } = await ask("/start", { files });
  for (;;) {
    const task = await ask("/status", { taskId });
    say(`${task.status} ${task.progress} %`);
    if (task.status === "completed" || task.status === "failed") return task.files;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Asks server.js, which has the API key. */
async function ask(path, body = {}) {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  const read = await answer.json();
  if (!answer.ok) throw new Error(read.message);
  return read.data;
}

function say(text) {
  document.getElementById("status").textContent = text;
}

function show(files) {
  for (const file of files) {
    const item = document.createElement("li");
    if (file.downloadLink) {
      const link = Object.assign(document.createElement("a"), { href: file.downloadLink });
      const image = Object.assign(document.createElement("img"), { src: file.downloadLink, alt: file.originalFileName });
      link.append(image);
      item.append(link);
    } else {
      item.textContent = `${file.originalFileName}: ${file.error}`;
    }
    document.getElementById("results").append(item);
  }
}
