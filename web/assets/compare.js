// Before and after on top of each other, with a divider: at 100 % or fitted, moved by mouse, finger or keys.

import { el, fill, icon } from "./dom.js";
import { pixels } from "./words.js";

const STEP = 2; // percent of the stage
const LEAP = 10;
const PAN = 60; // CSS pixels

export class Compare {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.divider = 50; // percent of the stage
    this.x = this.y = 0; // of the picture's corner, in CSS pixels of the stage
    this.zoom = "full";
    this.build();
    new ResizeObserver(() => this.lay()).observe(this.stage);
  }

  build() {
    this.before = el("img", { class: "layer before", alt: "", draggable: "false" });
    this.after = el("img", { class: "layer after", alt: "", draggable: "false" });
    this.handle = el("div", {
      class: "divider", role: "slider", tabindex: 0, "aria-label": "Divider between before and after",
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-orientation": "horizontal",
    }, el("span", { class: "grip" }, icon("split")));
    this.stage = el("div", { class: "stage", tabindex: 0, role: "group", "aria-label": "Picture, before and after. Arrow keys move it." },
      this.before, this.after,
      el("span", { class: "tag first", "aria-hidden": "true" }, "Before"),
      el("span", { class: "tag last", "aria-hidden": "true" }, "After"),
      this.handle);
    this.problem = el("p", { class: "problem", role: "alert", hidden: true });
    this.name = el("span", { class: "quiet" });
    this.full = el("button", { type: "button", onclick: () => this.set("full") }, "100 %");
    this.fit = el("button", { type: "button", onclick: () => this.set("fit") }, "Fit");
    fill(this.section,
      el("div", { class: "card-head" }, el("h2", { id: "compare-title", tabindex: -1 }, "Before and after"), this.name,
        el("div", { class: "segments buttons", role: "group", "aria-label": "Zoom" }, this.full, this.fit),
        el("button", { type: "button", class: "plain round", "aria-label": "Close", title: "Close", onclick: () => this.close() }, icon("cross"))),
      this.problem, this.stage,
      el("p", { class: "quiet hint" }, "Left: the photo as it was, enlarged by the browser. Drag the divider, drag the picture to move it."));
    this.listen();
  }

  /** @param {import("./item.js").Item} item that is done @param {boolean} focus */
  async show(item, focus) {
    this.item = item;
    this.section.hidden = false;
    this.problem.hidden = true;
    const { width, height } = item.result.dimensions;
    this.width = width;
    this.height = height;
    this.divider = 50;
    fill(this.name, `${item.file.name}, ${pixels(width, height)}`);
    this.before.src = item.address;
    this.after.onerror = () => {
      this.problem.hidden = false;
      fill(this.problem, "Your browser cannot show this kind of file. Download it to look at it.");
    };
    this.after.src = await item.link();
    this.set("full");
    if (focus) {
      this.section.scrollIntoView({ block: "nearest", behavior: "smooth" });
      this.handle.focus({ preventScroll: true });
    }
  }

  close() {
    const { item } = this;
    this.section.hidden = true;
    this.item = undefined;
    this.before.removeAttribute("src");
    this.after.removeAttribute("src");
    item?.row.querySelector("button")?.focus();
  }

  /** @param {"full" | "fit"} zoom */
  set(zoom) {
    this.zoom = zoom;
    this.full.setAttribute("aria-pressed", String(zoom === "full"));
    this.fit.setAttribute("aria-pressed", String(zoom === "fit"));
    const stage = this.stage.getBoundingClientRect();
    this.x = (stage.width - this.sides().width) / 2;
    this.y = (stage.height - this.sides().height) / 2;
    this.lay();
  }

  /** Of the picture on the stage, in CSS pixels: at 100 % one of its pixels is one of the screen's. */
  sides() {
    const { width: across, height: down } = this.stage.getBoundingClientRect();
    const [width, height] = [this.width / devicePixelRatio, this.height / devicePixelRatio];
    const factor = this.zoom === "fit" ? Math.min(across / width, down / height) : 1;
    return { width: width * factor, height: height * factor };
  }

  lay() {
    if (!this.item) return;
    const stage = this.stage.getBoundingClientRect();
    const { width, height } = this.sides();
    this.x = within(this.x, stage.width - width);
    this.y = within(this.y, stage.height - height);
    const cut = (this.divider / 100) * stage.width - this.x;
    for (const layer of [this.before, this.after]) {
      Object.assign(layer.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${this.x}px, ${this.y}px)` });
    }
    this.before.style.clipPath = `inset(0 ${width - cut}px 0 0)`;
    this.after.style.clipPath = `inset(0 0 0 ${cut}px)`;
    this.handle.style.left = `${this.divider}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.divider)));
    this.handle.setAttribute("aria-valuetext", `${Math.round(this.divider)} % before, ${100 - Math.round(this.divider)} % after`);
    this.stage.dataset.zoom = this.zoom;
  }

  /** @param {number} percent */
  divide(percent) {
    this.divider = Math.min(100, Math.max(0, percent));
    this.lay();
  }

  listen() {
    this.handle.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const step = event.shiftKey ? LEAP : STEP;
      const to = {
        ArrowLeft: this.divider - step, ArrowDown: this.divider - step, ArrowRight: this.divider + step, ArrowUp: this.divider + step,
        PageDown: this.divider - LEAP, PageUp: this.divider + LEAP, Home: 0, End: 100,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.divide(to);
    });
    this.stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] }[event.key];
      if (!by) return;
      event.preventDefault();
      this.move(by[0], by[1]);
    });
    this.stage.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
      if (event.button !== 0) return;
      const dividing = this.handle.contains(/** @type {Node} */ (event.target));
      this.stage.setPointerCapture(event.pointerId);
      const drag = (/** @type {PointerEvent} */ to) => {
        const stage = this.stage.getBoundingClientRect();
        if (dividing) this.divide((100 * (to.clientX - stage.left)) / stage.width);
        else this.move(to.movementX, to.movementY);
      };
      const end = () => {
        this.stage.removeEventListener("pointermove", drag);
        this.stage.removeEventListener("pointerup", end);
        this.stage.removeEventListener("pointercancel", end);
      };
      this.stage.addEventListener("pointermove", drag);
      this.stage.addEventListener("pointerup", end);
      this.stage.addEventListener("pointercancel", end);
    });
  }

  /** @param {number} across @param {number} down */
  move(across, down) {
    this.x += across;
    this.y += down;
    this.lay();
  }
}

/** The corner of a picture that covers the stage, or stands in its middle where it is smaller. @param {number} at @param {number} room */
const within = (at, room) => (room >= 0 ? room / 2 : Math.min(0, Math.max(room, at)));
