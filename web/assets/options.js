// How the photos are enlarged: what /v1/models offers, and what it will cost before the start.

import { el, fill } from "./dom.js";
import { counted, duration } from "./words.js";

const LOOKS = new Set(["tessera-photo", "tessera-fidelity"]); // a picture in assets/looks/
const FORMATS = {
  jpg: "JPEG, small",
  png: "PNG, lossless and large",
  webp: "WebP, smaller",
  avif: "AVIF, smallest and slow",
  tiff: "TIFF, for print",
};
const METADATA = {
  safe: "Most of it, no place",
  keep: "All of it, the place too",
  strip: "Nothing",
};

export class Options {
  /**
   * @param {HTMLFormElement} form
   * @param {any} offer of /v1/models
   * @param {{changed: () => void, start: (options: Record<string, any>) => void}} hooks
   */
  constructor(form, offer, hooks) {
    this.form = form;
    this.offer = offer;
    this.hooks = hooks;
    const chosen = offer.models.find((/** @type {any} */ model) => model.default) ?? offer.models[0];
    this.chosen = chosen.name;
    this.build();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      hooks.start(this.values());
    });
    form.addEventListener("input", () => {
      this.chosen = this.data().get("model") ?? this.chosen;
      this.fit();
      hooks.changed();
    });
  }

  data() {
    return new FormData(this.form);
  }

  get model() {
    return this.offer.models.find((/** @type {any} */ model) => model.name === this.chosen);
  }

  /** The body of POST /v1/tasks but for its files; the estimate takes the part that it knows. */
  values() {
    const data = this.data();
    const denoise = Number(data.get("denoise"));
    return {
      model: this.chosen,
      scale: Number(data.get("scale")),
      saveImageAs: data.get("format"),
      metadata: data.get("metadata"),
      ...(denoise ? { denoise } : {}),
      ...(data.get("face") ? { enhanceFace: true } : {}),
    };
  }

  build() {
    const { models, formats } = this.offer;
    const own = models.filter((/** @type {any} */ model) => model.available && !model.standIn);
    const others = models.filter((/** @type {any} */ model) => !own.includes(model));
    const few = others.length === 0 || own.length === 0;
    this.scales = el("div", { class: "segments" });
    this.denoise = el("output", { for: "denoise" }, "off");
    this.cost = el("p", { class: "cost", id: "cost" });
    this.warning = el("p", { class: "problem", role: "alert", hidden: true });
    this.button = el("button", { class: "primary wide", type: "submit", "aria-describedby": "cost" }, "Enlarge");
    fill(
      this.form,
      el("h2", { id: "options-title" }, "How"),
      el("fieldset", {}, el("legend", {}, "Model"),
        el("div", { class: "models" }, ...(few ? models : own).map((/** @type {any} */ model) => this.card(model))),
        !few && el("details", { class: "more" },
          el("summary", {}, counted(others.length, "more model")),
          el("div", { class: "models" }, ...others.map((/** @type {any} */ model) => this.card(model)))),
      ),
      el("fieldset", {}, el("legend", {}, "Times larger"), this.scales),
      el("label", { for: "format" }, "Save as"),
      el("select", { id: "format", name: "format" },
        ...formats.map((/** @type {any} */ format) => el("option", { value: format.name }, FORMATS[format.name] ?? format.name))),
      el("details", { class: "more" }, el("summary", {}, "Details"), ...this.details()),
      el("div", { class: "start" }, this.warning, this.cost, this.button),
    );
    this.fit();
  }

  /** @param {any} model */
  card(model) {
    const shown = model.standIn ?? model.name;
    const look = LOOKS.has(shown) && el("img", { src: `assets/looks/${shown}.webp`, alt: "", width: 72, height: 54, loading: "lazy" });
    const note = model.standIn ? `Not installed here: ${model.standIn} is used instead.` : !model.available && model.reason;
    return el("label", { class: "model" },
      el("input", { type: "radio", name: "model", value: model.name, checked: model.name === this.chosen, disabled: !model.available && !model.standIn }),
      look || el("span", { class: "look" }),
      el("span", {}, el("strong", {}, model.title), el("span", { class: "quiet" }, model.description), note && el("span", { class: "note" }, note)));
  }

  /** @returns {Node[]} */
  details() {
    const { operations } = this.offer;
    const face = operations.enhanceFace ?? { available: false, reason: "Not offered here" };
    const policies = operations.metadata?.values ?? ["safe", "keep", "strip"];
    return [
      el("label", { for: "denoise" }, "Remove noise first: ", this.denoise),
      el("input", { id: "denoise", name: "denoise", type: "range", min: 0, max: 100, step: 10, value: 0 }),
      el("label", { class: "check" },
        el("input", { type: "checkbox", name: "face", disabled: !face.available }),
        el("span", {}, "Restore faces", !face.available && el("span", { class: "note" }, face.reason))),
      el("label", { for: "metadata" }, "Keep of the photo's data"),
      el("select", { id: "metadata", name: "metadata" },
        ...policies.map((/** @type {string} */ policy) => el("option", { value: policy }, METADATA[policy] ?? policy))),
    ];
  }

  /** The scales that the chosen model has, and the words beside the slider. */
  fit() {
    const before = Number(this.data().get("scale")) || 4;
    const { scales } = this.model;
    const now = scales.includes(before) ? before : scales[scales.length - 1];
    if (this.scales.dataset.has !== scales.join()) {
      this.scales.dataset.has = scales.join();
      fill(this.scales, ...scales.map((/** @type {number} */ scale) =>
        el("label", {}, el("input", { type: "radio", name: "scale", value: scale, checked: scale === now }), `${scale}×`)));
    }
    const strength = Number(this.data().get("denoise"));
    this.denoise.textContent = strength ? `${strength} %` : "off";
  }

  /**
   * @param {number} count of photos that can start
   * @param {{credits: number, seconds: number | null, pixels: string} | null} estimate seconds: null where nobody knows
   * @param {number} balance
   */
  show(count, estimate, balance) {
    const short = estimate !== null && estimate.credits > balance;
    this.button.disabled = count === 0 || short;
    this.button.textContent = count > 1 ? `Enlarge ${counted(count, "photo")}` : "Enlarge";
    this.warning.hidden = !short;
    if (!estimate) return fill(this.cost, count ? "" : "Choose a photo first.");
    if (short) fill(this.warning, `You have ${counted(balance, "credit")}, this needs ${estimate.credits}. Remove some photos or ask for more credits.`);
    const time = estimate.seconds === null ? "" : `, about ${duration(estimate.seconds)}`;
    fill(this.cost, `${estimate.pixels}, ${counted(estimate.credits, "credit")}${time}`);
  }
}
