// Light, dark, or as the system has it; the choice is kept on this computer.

import { byId } from "./dom.js";

const ORDER = ["system", "light", "dark"];
const CHOICE = "tessera.theme";

/** @param {string} theme */
function show(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.setAttribute("aria-label", `Colours: ${theme}. Change`);
  button.title = `Colours: ${theme}`;
}

export function begin() {
  let theme = localStorage.getItem(CHOICE) ?? "system";
  show(theme);
  byId("theme").addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    localStorage.setItem(CHOICE, theme);
    show(theme);
  });
}
