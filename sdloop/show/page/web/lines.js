// Lines over the steps. All plots share the scrubber's horizontal axis: a share of the width.

import { svg } from "./dom.js";
import { written } from "./text.js";

const AIR = 0.06; // above and below the lines

/** @typedef {[share: number, value: number | null]} Point  Null interrupts the line. */

/**
 * @typedef {object} Line
 * @property {string} color  Its class.
 * @property {boolean} dashed
 * @property {Point[]} points
 */

/**
 * Choose the vertical axis: from zero where the numbers are sizes, with some air.
 *
 * @param {number[]} values
 * @returns {[low: number, high: number]}
 */
function rangeOf(values) {
  if (values.length === 0) return [0, 1];
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (low >= 0 && low < 0.6 * high) low = 0;
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const air = (high - low) * AIR;
  return [low === 0 ? 0 : low - air, high + air];
}

/**
 * Choose round numbers between two ends.
 *
 * @param {number} low
 * @param {number} high
 * @param {number} count  About how many.
 */
function roundNumbers(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= raw) ?? 10);
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, at) =>
    Number(((first + at) * step).toPrecision(12)),
  );
}

/**
 * Write an SVG path through points.
 *
 * @param {[x: number, y: number | null][]} points
 */
export function pathOf(points) {
  let pen = "M";
  let path = "";
  for (const [x, y] of points) {
    if (y !== null) path += `${pen}${x.toFixed(2)} ${y.toFixed(2)}`;
    pen = y === null ? "M" : "L";
  }
  return path;
}

/** Shares and values -> pixels of a plot. */
class Axes {
  /**
   * @param {number} width
   * @param {number} height
   * @param {number[]} values  All that must have room.
   */
  constructor(width, height, values) {
    this.width = width;
    this.height = height;
    const [low, high] = rangeOf(values);
    this.low = low;
    this.high = high;
  }

  /** @param {number} share */
  x(share) {
    return share * this.width;
  }

  /** @param {number} value */
  y(value) {
    return this.height - 1 - ((value - this.low) / (this.high - this.low)) * (this.height - 2);
  }

  /**
   * @param {Point} point
   * @returns {[x: number, y: number | null]}
   */
  place([share, value]) {
    return [this.x(share), value === null ? null : this.y(value)];
  }
}

/** A plot of lines with a cursor, a dot on each line, and what the pointer reads. */
export class LinePlot {
  #holder;
  #picture = svg("svg", { role: "img" });
  #tip = document.createElement("div");
  #cursor = svg("line", { class: "cursor" });
  #axes = new Axes(1, 1, []);
  /** @type {Line[]} */
  #lines = [];
  /** @type {SVGCircleElement[]} */
  #dots = [];
  /** @type {SVGCircleElement[]} */
  #hollowDots = [];

  /** @param {HTMLElement} holder */
  constructor(holder) {
    this.#holder = holder;
    this.#tip.className = "tip";
    this.#tip.hidden = true;
    holder.append(this.#picture, this.#tip);
  }

  /**
   * Draw lines.
   *
   * @param {Line[]} lines
   * @param {string} label
   * @param {number[]} marks  Shares of the width that are marked.
   * @param {number[]} forks  Shares of the width where runs left others.
   */
  show(lines, label, marks, forks = []) {
    const { clientWidth: width, clientHeight: height } = this.#holder;
    const values = lines.flatMap((line) => line.points.map(([, value]) => value));
    const axes = new Axes(
      width,
      height,
      values.filter((value) => value !== null),
    );
    this.#axes = axes;
    this.#lines = lines;
    this.#dots = lines.map(({ color }) => svg("circle", { r: 4.5, class: `dot ${color}` }));
    this.#hollowDots = lines.map(({ color }) =>
      svg("circle", { r: 3.5, class: `dot hollow ${color}`, visibility: "hidden" }),
    );
    this.#cursor.setAttribute("y2", String(height));
    const stages = marks.map((share) =>
      svg("line", { x1: axes.x(share), x2: axes.x(share), y2: height, class: "stage" }),
    );
    const left = forks.flatMap((share) => [
      svg("line", { x1: axes.x(share), x2: axes.x(share), y2: height, class: "fork" }),
      svg("text", { x: axes.x(share) + 4, y: 11, class: "tick fork" }, "fork"),
    ]);
    const grid = roundNumbers(axes.low, axes.high, 3).flatMap((value) => [
      svg("line", { x2: width, y1: axes.y(value), y2: axes.y(value), class: "grid" }),
      svg("text", { x: 2, y: axes.y(value) - 4, class: "tick" }, written(value)),
    ]);
    const paths = lines.map(({ points, color, dashed }) =>
      svg("path", {
        d: pathOf(points.map((point) => axes.place(point))),
        class: `line ${color}${dashed ? " dashed" : ""}`,
      }),
    );
    this.#picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#picture.setAttribute("aria-label", label);
    this.#picture.replaceChildren(
      ...stages,
      ...left,
      ...grid,
      this.#cursor,
      ...paths,
      ...this.#hollowDots,
      ...this.#dots,
    );
  }

  /**
   * Put the cursor somewhere, and a dot on a point of each line.
   *
   * @param {number} share  Of the width.
   * @param {number[]} at  A point's number for each line; -1 is before the first.
   */
  point(share, at) {
    this.#cursor.setAttribute("x1", String(this.#axes.x(share)));
    this.#cursor.setAttribute("x2", String(this.#axes.x(share)));
    this.#place(this.#dots, at);
  }

  /**
   * Show what the pointer reads, beside a point of each line.
   *
   * @param {number} share
   * @param {number[]} at
   * @param {string} text
   */
  read(share, at, text) {
    this.#place(this.#hollowDots, at);
    this.#tip.textContent = text;
    this.#tip.hidden = false;
    const room = this.#holder.clientWidth - this.#tip.offsetWidth;
    this.#tip.style.left = `${Math.max(0, Math.min(room, this.#axes.x(share) + 12))}px`;
  }

  /** Show nothing beside the pointer. */
  leave() {
    this.#tip.hidden = true;
    this.#place(this.#hollowDots, []);
  }

  /**
   * @param {SVGCircleElement[]} dots
   * @param {number[]} at
   */
  #place(dots, at) {
    for (const [number, dot] of dots.entries()) {
      const point = this.#lines[number]?.points[at[number] ?? -1];
      const [x, y] = point ? this.#axes.place(point) : [0, null];
      dot.setAttribute("visibility", y === null ? "hidden" : "visible");
      dot.setAttribute("cx", String(x));
      dot.setAttribute("cy", String(y ?? 0));
    }
  }
}
