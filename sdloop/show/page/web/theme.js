// Dark or light.

import { element } from "./dom.js";

const KEY = "sdloop-theme";

/**
 * Use the browser's memory, which a page in a sandbox does not have.
 *
 * @template Value
 * @param {(memory: Storage) => Value} action
 * @returns {Value | null}
 */
function withMemory(action) {
  try {
    return action(localStorage);
  } catch {
    return null;
  }
}

/** Follow the system until the reader presses the button, and remember that choice. */
export function wireTheme() {
  const { dataset } = document.documentElement;
  const button = element("theme", HTMLButtonElement);
  const isDark = () =>
    dataset.theme ? dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => button.setAttribute("aria-label", isDark() ? "Light page" : "Dark page");
  const remembered = withMemory((memory) => memory.getItem(KEY));
  if (remembered) dataset.theme = remembered;
  label();
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    dataset.theme = theme;
    withMemory((memory) => memory.setItem(KEY, theme));
    label();
  });
}
