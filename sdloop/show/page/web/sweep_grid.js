// The runs of a sweep in rows and columns, each as one small picture that is pressed to see more.

/** @import { Scale } from "./scale.js" */
/** @import { SmallRun } from "./small_run.js" */
/** @import { SweepRuns } from "./sweep_runs.js" */
/** @import { SweepData } from "./sweep_data.js" */
import { contextOf, html } from "./dom.js";
import { apart } from "./text.js";

const CELL_PX = { least: 40, most: 160 };
const GAP_PX = 4;
const IN_VIEW = 0.58; // the share of the window's height for the cells

/** @typedef {"frame" | "difference" | "z0_hat"} Kind */

/** One run's cell. */
class Cell {
  /**
   * @param {SmallRun} run
   * @param {string} name
   * @param {() => void} onPress
   */
  constructor(run, name, onPress) {
    const { width, height } = run.facts;
    this.run = run;
    this.canvas = html("canvas", { width, height });
    const attributes = { type: "button", "aria-label": name, title: name, "aria-pressed": "false" };
    this.root = html("button", attributes, this.canvas);
    this.root.addEventListener("click", onPress);
  }

  /**
   * @param {Kind} kind
   * @param {number} frame
   * @param {Scale} scale
   */
  show(kind, frame, scale) {
    const step = this.run.steps[frame - 1];
    const picture = kind === "frame" ? this.run.frames[frame] : step?.z0Hat;
    const context = contextOf(this.canvas);
    if (kind === "difference" && step) {
      const yellow = scale.yellow(step);
      this.run.colors.paint(context, step.levels, yellow > 0 ? step.peak / yellow : 0);
    } else if (kind !== "difference" && picture) context.drawImage(picture, 0, 0);
    else context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
}

/** The table of all cells. */
export class SweepGrid {
  #runs;
  #scale;
  /** @type {Cell[]} */
  #cells = [];
  #rows;
  #columns;
  #onPress;

  /**
   * @param {SweepRuns} runs
   * @param {SweepData} data
   * @param {Scale} scale
   * @param {(run: SmallRun) => void} onPress
   */
  constructor(runs, { rows, columns, cells }, scale, onPress) {
    this.#runs = runs;
    this.#scale = scale;
    this.#rows = rows;
    this.#columns = columns;
    this.#onPress = onPress;
    const lines = cells.map((line, at) => {
      const label = html("th", { scope: "row" }, apart(rows.labels[at] ?? ""));
      return html("tr", {}, label, ...line.map((number) => this.#cellOf(number)));
    });
    const name = html("th", { class: "side", scope: "col", colspan: columns.labels.length });
    name.append(apart(columns.name));
    const corner = html("th", { class: "side", rowspan: 2 }, apart(rows.name));
    const labels = columns.labels.map((text) => html("th", { scope: "col" }, apart(text)));
    const head = html("thead", {}, html("tr", {}, corner, name), html("tr", {}, ...labels));
    this.root = html("table", { class: "cells" }, head, html("tbody", {}, ...lines));
  }

  /** @param {number | null} number */
  #cellOf(number) {
    const run = number === null ? undefined : this.#runs.small[number];
    if (!run) return html("td", { class: "missing" }, "missing");
    const cell = new Cell(run, this.#runs.nameOf(run), () => this.#onPress(run));
    this.#cells.push(cell);
    return html("td", {}, cell.root);
  }

  /**
   * Make the cells as large as the window allows.
   *
   * @param {number} width  That the table may take, in pixels.
   */
  fit(width) {
    const beside = this.root.querySelector("tbody th")?.getBoundingClientRect().width ?? 0;
    const wide = (width - beside) / this.#columns.labels.length - GAP_PX;
    const high = (IN_VIEW * window.innerHeight) / this.#rows.labels.length - GAP_PX;
    const px = Math.max(CELL_PX.least, Math.min(CELL_PX.most, wide, Math.max(high, 56)));
    this.root.style.setProperty("--cell-px", `${Math.floor(px)}px`);
    for (const { canvas } of this.#cells) {
      canvas.classList.toggle("enlarged", px * window.devicePixelRatio >= canvas.width);
    }
  }

  /**
   * @param {Kind} kind
   * @param {number} position
   */
  show(kind, position) {
    for (const cell of this.#cells) {
      cell.show(kind, this.#runs.frameOf(cell.run, position), this.#scale);
    }
  }

  /** @param {SmallRun} run  The one that is shown large. */
  mark(run) {
    for (const cell of this.#cells) {
      cell.root.setAttribute("aria-pressed", String(cell.run === run));
    }
  }
}
