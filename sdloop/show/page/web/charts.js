// The chart under the pictures: one of the numbers of a step, for all runs, with its legend.

/** @import { ChartData } from "./data.js" */
/** @import { Line } from "./lines.js" */
/** @import { Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { element, html } from "./dom.js";
import { LinePlot } from "./lines.js";
import { colorOf } from "./runs.js";
import { written } from "./text.js";

/** @typedef {Line & { run: Run, name: string }} ChartLine */

/** The chart, and the choice of what it shows. */
export class Charts {
  #runs;
  #shown;
  #position = 0;
  #plot = new LinePlot(element("plot", HTMLElement));
  /** @type {ChartLine[]} */
  #lines = [];

  /**
   * @param {Runs} runs
   * @param {ChartData[]} charts
   * @param {(position: number) => void} onScrub
   */
  constructor(runs, charts, onScrub) {
    this.#runs = runs;
    this.#shown = charts[0];
    const choice = element("chart-choice", HTMLSelectElement);
    choice.append(...charts.map(({ label }) => html("option", {}, label)));
    choice.addEventListener("change", () => {
      this.#shown = charts[choice.selectedIndex];
      this.update();
    });
    this.#followPointer(onScrub);
  }

  /** @param {(position: number) => void} onScrub */
  #followPointer(onScrub) {
    const plot = element("plot", HTMLElement);
    /** @param {PointerEvent} event */
    const positionAt = (event) => {
      const { left, width } = plot.getBoundingClientRect();
      const position = Math.floor(((event.clientX - left) / width) * this.#runs.positions);
      return Math.max(0, Math.min(position, this.#runs.last));
    };
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      onScrub(positionAt(event));
    });
    plot.addEventListener("pointermove", (event) => {
      const position = positionAt(event);
      if (event.buttons && position !== this.#position) onScrub(position);
      this.#read(position);
    });
    plot.addEventListener("pointerleave", () => this.#plot.leave());
  }

  /** Draw the chart again: another one, another width, or more steps. */
  update() {
    if (!this.#shown) return;
    const { lines, label, note } = this.#shown;
    this.#lines = this.#runs.list.flatMap((run) => this.#linesOf(run, lines));
    element("chart-note", HTMLElement).textContent = note;
    const marks = this.#runs.stages.map((position) => this.#runs.shareOf(position));
    const forks = this.#runs.list.flatMap((run) => {
      const { start_frame: frame } = run.facts;
      return frame === null ? [] : [this.#runs.shareOfFrame(run, frame)];
    });
    this.#plot.show(this.#lines, `${label} over the steps`, marks, forks);
    this.point(this.#position);
  }

  /**
   * Make one run's lines. A colour tells several runs apart, or the lines of the only one.
   *
   * @param {Run} run
   * @param {ChartData["lines"]} columns
   * @returns {ChartLine[]}
   */
  #linesOf(run, columns) {
    const { several, list } = this.#runs;
    const runName = several ? this.#runs.nameOf(run) : "";
    return Object.entries(columns).map(([column, words], at) => ({
      run,
      name: [runName, words].filter(Boolean).join(", "),
      color: colorOf(several ? list.indexOf(run) : at),
      dashed: several && at > 0,
      points: run
        .numbersOf(column)
        .map((value, row) => [this.#runs.shareOfFrame(run, row + 1), value]),
    }));
  }

  /**
   * Move the cursor, and write the legend's values.
   *
   * @param {number} position
   */
  point(position) {
    this.#position = position;
    const rows = this.#rowsAt(position);
    this.#plot.point(this.#runs.shareOf(position), rows);
    const entries = this.#lines.map((line, at) => {
      const swatch = html("span", { class: `swatch ${line.color}` });
      const value = html("b", {}, this.#valueAt(line, rows[at]));
      return html("span", { class: "entry" }, swatch, line.name ? `${line.name}: ` : "", value);
    });
    element("chart-legend", HTMLElement).replaceChildren(...entries);
  }

  /** @param {number} position */
  #read(position) {
    const rows = this.#rowsAt(position);
    const where = this.#runs.several ? `position ${position}` : `step ${position - 1}`;
    const values = this.#lines.map((line, at) => {
      const value = this.#valueAt(line, rows[at]);
      return line.name ? `${line.name}: ${value}` : value;
    });
    if (position === 0) this.#plot.leave();
    else this.#plot.read(this.#runs.shareOf(position), rows, [where, ...values].join("\n"));
  }

  /**
   * Return each line's row at a position, -1 before the first.
   *
   * @param {number} position
   */
  #rowsAt(position) {
    return this.#lines.map(({ run }) => this.#runs.frameOf(run, position) - 1);
  }

  /**
   * @param {ChartLine} line
   * @param {number} [row]
   */
  #valueAt(line, row = -1) {
    const value = line.points[row]?.[1] ?? null;
    const unit = this.#shown?.unit ? ` ${this.#shown.unit}` : "";
    return value === null ? "no value" : written(value) + unit;
  }
}
