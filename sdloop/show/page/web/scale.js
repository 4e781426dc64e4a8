// What the bright end of a difference's colours stands for.

/** @import { Step } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { html } from "./dom.js";

/** The choice between a step's own largest difference and the largest of all that is shown. */
export class Scale {
  #runs;
  #isGlobal;

  /** @param {Runs} runs */
  constructor(runs) {
    this.#runs = runs;
    this.#isGlobal = runs.several || runs.first.facts.scale === "global";
  }

  /**
   * Return the difference that is yellow in a step.
   *
   * @param {Step} step
   */
  yellow({ peak }) {
    return this.#isGlobal ? this.#runs.peak : peak;
  }

  /**
   * Offer the choice: beside the one colour bar, or for all runs at once.
   *
   * @param {() => void} onChange
   */
  wire(onChange) {
    const { several } = this.#runs;
    /**
     * @param {string} value
     * @param {boolean} isGlobal
     * @param {string} words
     */
    const choice = (value, isGlobal, words) => {
      const input = html("input", { type: "radio", name: "scale", value });
      input.checked = isGlobal === this.#isGlobal;
      input.addEventListener("change", () => {
        this.#isGlobal = isGlobal;
        onChange();
      });
      return html("label", {}, input, html("span", {}, words));
    };
    const title = "Yellow is the largest change of this step, or of all that is shown";
    const fieldset = html(
      "fieldset",
      { id: "scale", class: "segments", title },
      html("legend", { class: several ? "" : "unseen" }, "Scale of"),
      choice("image", false, "this step"),
      choice("global", true, several ? "all runs" : "whole run"),
    );
    document.querySelector(several ? "#transport .choices" : ".scale")?.append(fieldset);
  }
}
