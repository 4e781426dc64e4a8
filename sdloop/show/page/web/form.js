// The form: a field for each value, and beside a field what is wrong with it.

import { html } from "./dom.js";

/**
 * @typedef {object} FieldData
 * @property {string} key  Dotted, as in a config.
 * @property {string} label
 * @property {string} value  What it begins with.
 * @property {string[] | null} choices
 * @property {"string" | "integer" | "number"} type
 * @property {number | null} least
 * @property {number | null} largest
 * @property {number | null} longest
 */

/** @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Input */

/**
 * Make what a value is typed into.
 *
 * @param {FieldData} field
 * @param {string} id
 * @returns {Input}
 */
function inputOf({ key, value, choices, type, least, largest, longest }, id) {
  const wrong = { id, name: key, "aria-describedby": `${id}-wrong` };
  if (choices) {
    const select = html("select", wrong, ...choices.map((each) => html("option", {}, each)));
    select.value = value;
    return select;
  }
  if (type === "string") {
    const text = html("textarea", { ...wrong, rows: 2, spellcheck: "false" });
    if (longest !== null) text.maxLength = longest;
    text.value = value;
    return text;
  }
  // the server says what is wrong with a number; a browser would only say that something is
  const mode = type === "integer" ? "numeric" : "decimal";
  const input = html("input", { ...wrong, type: "text", inputmode: mode, autocomplete: "off" });
  if (least !== null) input.title = `${least} to ${largest ?? "any"}`;
  input.value = value;
  return input;
}

/** The fields, in a form that is never sent by the browser itself. */
export class Form {
  /** @type {Map<string, { input: Input, wrong: HTMLElement }>} */
  #fields = new Map();
  #wrong = html("p", { class: "wrong", role: "alert" });

  /**
   * @param {FieldData[]} fields
   * @param {() => void} onRun
   * @param {...Node} buttons
   */
  constructor(fields, onRun, ...buttons) {
    const parts = fields.map((field) => {
      const id = `field-${field.key.replace(".", "-")}`;
      const input = inputOf(field, id);
      const wrong = html("p", { class: "wrong", id: `${id}-wrong` });
      this.#fields.set(field.key, { input, wrong });
      const label = html("label", { for: id }, field.label);
      const kind = input instanceof HTMLTextAreaElement ? "field wide" : "field";
      return html("div", { class: kind }, label, input, wrong);
    });
    const row = html("div", { class: "presses" }, ...buttons);
    this.root = html("form", { "aria-label": "Run", novalidate: "" }, ...parts, row, this.#wrong);
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      onRun();
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onRun();
    });
  }

  /** Return what is typed, by key. */
  get values() {
    return Object.fromEntries([...this.#fields].map(([key, { input }]) => [key, input.value]));
  }

  /**
   * Put a run's values into the fields.
   *
   * @param {Map<string, string>} config  As the page lists them, under dotted keys.
   */
  fill(config) {
    for (const [key, { input }] of this.#fields) {
      const value = config.get(key) ?? "";
      const text = value === '""' || value === "null" ? "" : value;
      const isSelect = input instanceof HTMLSelectElement;
      const isOffered = !isSelect || [...input.options].some((option) => option.value === text);
      if (config.has(key) && isOffered) input.value = text;
    }
    this.complain("", "");
  }

  /**
   * Show what is wrong, beside its field if it has one.
   *
   * @param {string} key
   * @param {string} message  "" if nothing is.
   */
  complain(key, message) {
    for (const [each, { input, wrong }] of this.#fields) {
      const isWrong = each === key && message !== "";
      wrong.textContent = isWrong ? message : "";
      input.toggleAttribute("aria-invalid", isWrong);
      if (isWrong) {
        input.setAttribute("aria-invalid", "true");
        input.focus();
      }
    }
    this.#wrong.textContent = this.#fields.has(key) ? "" : message;
  }
}
