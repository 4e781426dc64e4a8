// The page of a sweep: all its runs in step in small pictures, and one of them large.

/** @import { Kind } from "./sweep_grid.js" */
/** @import { SmallRun } from "./small_run.js" */
/** @import { SweepData } from "./sweep_data.js" */
/** @import { SweepRuns } from "./sweep_runs.js" */
import { element, html } from "./dom.js";
import { RunView } from "./figures.js";
import { Scale } from "./scale.js";
import { SweepGrid } from "./sweep_grid.js";
import { Transport } from "./transport.js";
import { writePace } from "./words.js";

const LARGE = { beside: 330, share: 0.4 }; // its width in pixels; of the window's height, a picture

/** All that moves with the steps. */
export class SweepPage {
  #runs;
  #grid;
  #scale;
  #transport;
  #large = html("aside", { id: "large", class: "hero" });
  #choices = html("div", { class: "choices" });
  /** @type {RunView} */
  #view;
  /** @type {Kind} */
  #kind = "frame";
  #position;

  /**
   * @param {SweepRuns} runs
   * @param {SweepData} data
   */
  constructor(runs, data) {
    this.#runs = runs;
    this.#scale = new Scale(runs);
    this.#grid = new SweepGrid(runs, data, this.#scale, (run) => this.#pick(run));
    const asked = Number.parseInt(location.hash.slice(1), 10);
    this.#position = Number.isNaN(asked) ? runs.positions - 1 : asked;
    const scroll = html("div", { class: "scroll" }, this.#grid.root);
    element("runs", HTMLElement).append(this.#choices, scroll, this.#large);
    this.#transport = new Transport(runs, (position) => this.#go(position));
    this.#view = this.#makeLarge(runs.shown);
    this.#scale.wire(() => this.#go(this.#position));
    this.#wireChoices(runs.list.some((run) => run.facts.has_z0_hat));
    let width = window.innerWidth;
    new ResizeObserver(() => {
      if (width === window.innerWidth) return;
      width = window.innerWidth;
      this.update();
    }).observe(document.body);
  }

  /** Draw everything again, at this width. */
  update() {
    const { clientWidth } = element("runs", HTMLElement);
    this.#grid.fit(clientWidth - (isBelow() ? 0 : LARGE.beside));
    this.#fitLarge();
    this.#transport.update();
    this.#go(this.#position);
  }

  /** @param {number} position */
  #go(position) {
    this.#position = Math.max(0, Math.min(position, this.#runs.last));
    this.#grid.show(this.#kind, this.#position);
    this.#view.show(this.#runs.frameOf(this.#view.run, this.#position));
    this.#transport.point(this.#position);
  }

  /**
   * Show a run large, and its film.
   *
   * @param {SmallRun} run
   */
  #pick(run) {
    this.#runs.show(run);
    this.#view = this.#makeLarge(run);
    this.#fitLarge();
    this.#transport.update();
    this.#go(this.#position);
    if (isBelow()) this.#large.scrollIntoView({ block: "nearest" });
  }

  /** @param {SmallRun} run */
  #makeLarge(run) {
    const view = new RunView(this.#runs, run, this.#scale);
    const link = run.page ? [html("a", { href: run.page }, "Open this run’s own page")] : [];
    this.#large.replaceChildren(view.root, ...link);
    this.#grid.mark(run);
    return view;
  }

  #fitLarge() {
    const limit = isBelow() ? window.innerWidth : LARGE.share * window.innerHeight;
    for (const figure of this.#view.figures) figure.fit(limit);
  }

  /** @param {boolean} hasZ0Hat  Of any run. */
  #wireChoices(hasZ0Hat) {
    /** @type {[Kind, string][]} */
    const kinds = [
      ["frame", "frames"],
      ["difference", "differences"],
    ];
    if (hasZ0Hat) kinds.push(["z0_hat", "z0_hat"]);
    const shown = segments("Show", "kind", kinds, (kind) => {
      this.#kind = kind;
      this.#go(this.#position);
    });
    const title = "Which frames of runs with different numbers of steps stand together";
    /** @type {["share" | "noise", string][]} */
    const ways = [
      ["share", "share of the steps"],
      ["noise", "noise level"],
    ];
    const aligned = segments("In step by", "align", ways, (way) => {
      this.#runs.align(way === "noise");
      writePace(this.#runs);
      this.#transport.update();
      this.#go(this.#position);
    });
    aligned.title = title;
    this.#choices.append(shown, aligned);
  }
}

/** Tell whether the large pictures lie below the small ones. */
function isBelow() {
  return matchMedia("(max-width: 900px)").matches;
}

/**
 * Make a choice of one of several.
 *
 * @template {string} Value
 * @param {string} legend
 * @param {string} name
 * @param {[value: Value, words: string][]} choices  The first is chosen.
 * @param {(value: Value) => void} onChange
 */
function segments(legend, name, choices, onChange) {
  const labels = choices.map(([value, words], at) => {
    const input = html("input", { type: "radio", name, value });
    input.checked = at === 0;
    input.addEventListener("change", () => onChange(value));
    return html("label", {}, input, html("span", {}, words));
  });
  return html("fieldset", { class: "segments" }, html("legend", {}, legend), ...labels);
}
