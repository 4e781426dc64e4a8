// How much each word is attended over the steps, and what changed there.

/** @import { WordFacts } from "./data.js" */
/** @import { Line } from "./lines.js" */
/** @import { Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { html } from "./dom.js";
import { LinePlot } from "./lines.js";
import { colorOf } from "./runs.js";
import { apart } from "./text.js";

const TITLES = /** @type {const} */ ({
  attention: "Share of all attention",
  change: "Change where it is attended: 1 is chance",
});

/** @typedef {keyof typeof TITLES} Measure */

/** A plot of one measure of all words, one of them in front. */
export class WordPlot {
  #runs;
  #run;
  #words;
  #measure;
  #plot;
  #holder = html("div", { class: "word-plot" });
  #shown = -1;

  /**
   * @param {Runs} runs
   * @param {Run} run
   * @param {Measure} measure
   */
  constructor(runs, run, measure) {
    this.#runs = runs;
    this.#run = run;
    this.#words = run.facts.words ?? [];
    this.#measure = measure;
    this.#plot = new LinePlot(this.#holder);
    this.root = html("div", {}, html("p", { class: "note" }, TITLES[measure]), this.#holder);
  }

  /** @param {(position: number) => void} onScrub */
  followPointer(onScrub) {
    this.#holder.addEventListener("pointerdown", (event) => {
      this.#holder.setPointerCapture(event.pointerId);
      onScrub(this.#positionAt(event));
    });
    this.#holder.addEventListener("pointermove", (event) => {
      if (event.buttons) onScrub(this.#positionAt(event));
    });
  }

  /** @param {PointerEvent} event */
  #positionAt({ clientX }) {
    const { left, width } = this.#holder.getBoundingClientRect();
    const position = Math.floor(((clientX - left) / width) * this.#runs.positions);
    return Math.max(0, Math.min(position, this.#runs.last));
  }

  /**
   * Draw the lines; begin and end only if pressed, as their shares dwarf the words'.
   *
   * @param {number} pressed  Its number, -1 for none.
   */
  update(pressed) {
    this.#shown = pressed;
    const words = this.#words.filter((word, at) => !word.apart && at !== pressed);
    const front = this.#words[pressed];
    const color = colorOf(this.#runs.several ? this.#runs.list.indexOf(this.#run) : 0);
    const lines = words.map((word) => this.#line(word, "other"));
    if (front) lines.push(this.#line(front, color));
    const marks = this.#runs.stages.map((position) => this.#runs.shareOf(position));
    const title = TITLES[this.#measure];
    const label = front ? `${title}: ${apart(front.text)}` : `${title}, of every word`;
    this.#plot.show(lines, label, marks);
  }

  /**
   * @param {WordFacts} word
   * @param {string} color
   * @returns {Line}
   */
  #line(word, color) {
    const column = this.#run.numbersOf(word[this.#measure]);
    return {
      color,
      dashed: false,
      points: column.map((value, row) => [this.#runs.shareOfFrame(this.#run, row + 1), value]),
    };
  }

  /**
   * @param {number} position
   * @param {number} row  -1 before the first.
   */
  point(position, row) {
    const others = this.#words.filter((word, at) => !word.apart && at !== this.#shown);
    const none = others.map(() => -1);
    this.#plot.point(this.#runs.shareOf(position), this.#shown < 0 ? none : [...none, row]);
  }
}
