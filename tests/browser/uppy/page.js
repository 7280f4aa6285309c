// Uppy as its documentation sets it up, with what the address says; the tests drive it.
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import GoldenRetriever from "@uppy/golden-retriever";

const asked = new URLSearchParams(location.search);

const uppy = new Uppy();
if (asked.has("retriever")) uppy.use(GoldenRetriever, { indexedDB: { maxFileSize: 2 ** 30 } });
// How it cuts a file, for a token that asks.
if (asked.has("exact")) uppy.on("file-added", ({ id, size }) => uppy.setFileMeta(id, { size, partSize: 5 * 1024 * 1024 }));
uppy.use(AwsS3, {
  companionEndpoint: asked.get("companion"),
  ...(asked.has("parts") ? { shouldUseMultipart: true, getChunkSize: () => 5 * 1024 * 1024 } : {}),
});

Object.assign(window, {
  uppy,
  happened: (event) => new Promise((resolve) => uppy.once(event, (...facts) => resolve(facts))),
  /** A file of bytes that differ from part to part, or of those given in base64. */
  add: (name, type, size, base64) => {
    const bytes = base64
      ? Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
      : Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 20)) & 255);
    return uppy.addFile({ name, type, data: new File([bytes], name, { type }) });
  },
});
