// @ts-check
// What every page needs; figures and the event stream are loaded by the pages that have them.
import { drawFigures } from "./figures.js";
import { followJob } from "./live.js";
import { noticeRemoval } from "./removal.js";

/** Lets the reader turn from light to dark, and remembers it. */
function offerThemes() {
  const button = document.querySelector("[data-theme-switch]");
  if (!(button instanceof HTMLButtonElement)) return;
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${dark() ? "light" : "dark"} theme`);
  };
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // Storage may be forbidden; the choice then lasts for this page.
    }
    name();
    document.dispatchEvent(new Event("theme-changed"));
  });
  system.addEventListener("change", () => {
    name();
    document.dispatchEvent(new Event("theme-changed"));
  });
}

/** Copies the text of the listing that a button belongs to. */
function offerCopies() {
  document.addEventListener("click", async (event) => {
    const button = event.target;
    if (!(button instanceof HTMLButtonElement) || !button.dataset.copy) return;
    const source = document.getElementById(button.dataset.copy);
    if (!source) return;
    try {
      await navigator.clipboard.writeText(source.textContent ?? "");
      button.textContent = "Copied";
    } catch {
      // Without a secure context there is no clipboard: select the text for the reader's own copy.
      getSelection()?.selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

offerThemes();
offerCopies();
drawFigures();
followJob();
noticeRemoval();
