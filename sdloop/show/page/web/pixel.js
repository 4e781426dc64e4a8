// One pixel's way through all steps: its colour as a band, its three channels, its differences.

/** @import { Color } from "./data.js" */
/** @import { Pixel, Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { element, html, svg } from "./dom.js";
import { pathOf } from "./lines.js";
import { colorOf } from "./runs.js";
import { written } from "./text.js";

const CHANNELS = /** @type {const} */ (["red", "green", "blue"]);
const HEIGHT_PX = 112;
const BAND_PX = 14;
const CURVES_PX = { bottom: 72, height: 50 };
const BARS_PX = { bottom: HEIGHT_PX, height: 30 };

/** One run's pixel over its steps. */
class PixelPlot {
  #runs;
  #run;
  #words = html("p", { class: "values" });
  #picture = svg("svg", { role: "img" });
  #cursor = svg("line", { y2: HEIGHT_PX, class: "cursor" });
  #width = 1;
  /** @type {Color[]} */
  #colors = [];
  /** @type {number[]} */
  #differences = [];

  /**
   * @param {Runs} runs
   * @param {Run} run
   */
  constructor(runs, run) {
    this.#runs = runs;
    this.#run = run;
    const number = runs.list.indexOf(run);
    const swatch = html("span", { class: `swatch ${colorOf(number)}` });
    this.root = html("div", { class: "pixel-run" }, ...(runs.several ? [swatch] : []));
    this.root.append(this.#words, this.#picture);
  }

  /** @param {Pixel} pixel */
  show(pixel) {
    const near = this.#run.nearest(pixel);
    this.#colors = this.#run.colorsAt(near);
    this.#differences = this.#run.differencesAt(near);
    this.#width = this.#picture.clientWidth;
    const label = `Colour and difference of pixel ${near.x}, ${near.y} over ${this.#run.rows} steps`;
    this.#picture.setAttribute("viewBox", `0 0 ${this.#width} ${HEIGHT_PX}`);
    this.#picture.setAttribute("aria-label", label);
    this.#picture.replaceChildren(
      ...this.#band(),
      svg("line", { x2: this.#width, y1: HEIGHT_PX, y2: HEIGHT_PX, class: "grid" }),
      ...this.#bars(),
      this.#cursor,
      ...this.#curves(),
    );
  }

  /** @param {number} frame */
  #x(frame) {
    return this.#runs.shareOfFrame(this.#run, frame) * this.#width;
  }

  /**
   * Return where a frame's cell begins and how wide it is: it reaches half-way to its neighbours.
   *
   * @param {number} frame
   */
  #cell(frame) {
    const left = frame === 0 ? 0 : this.#x(frame - 0.5);
    const right = frame === this.#run.rows ? this.#width : this.#x(frame + 0.5);
    return { left, width: right - left };
  }

  #band() {
    return this.#colors.map((color, frame) => {
      const cell = this.#cell(frame);
      const fill = `rgb(${color.join(" ")})`;
      // half a pixel more, so that nothing shows between two cells
      return svg("rect", { x: cell.left, width: cell.width + 0.5, height: BAND_PX, fill });
    });
  }

  #bars() {
    const largest = Math.max(...this.#differences, 1);
    return this.#differences.map((value, row) => {
      const cell = this.#cell(row + 1);
      const height = (value / largest) * BARS_PX.height;
      return svg("rect", {
        x: cell.left + 0.12 * cell.width,
        y: BARS_PX.bottom - height,
        width: 0.76 * cell.width,
        height,
        fill: this.#run.colors.css((255 * value) / largest),
      });
    });
  }

  #curves() {
    const { bottom, height } = CURVES_PX;
    return CHANNELS.map((channel, at) => {
      const d = pathOf(
        this.#colors.map((color, frame) => [
          this.#x(frame),
          bottom - ((color[at] ?? 0) / 255) * height,
        ]),
      );
      return svg("path", { d, class: `line thin ${channel}` });
    });
  }

  /**
   * Say the pixel's values at a frame.
   *
   * @param {number} frame
   */
  point(frame) {
    this.#cursor.setAttribute("x1", String(this.#x(frame)));
    this.#cursor.setAttribute("x2", String(this.#x(frame)));
    const color = this.#colors[frame]?.join(" ") ?? "–";
    const change = this.#differences[frame - 1];
    const changed = change === undefined ? "" : `, changed by ${written(change)} of 255`;
    this.#words.textContent = `rgb ${color}${changed}`;
  }
}

/**
 * Return a field's number, or the nearest that is allowed.
 *
 * @param {HTMLInputElement} input
 */
function numberIn(input) {
  return Math.max(0, Math.min(Number(input.max), Math.round(input.valueAsNumber) || 0));
}

/** The panel of one pixel: every run's plot of it, and the fields that name it. */
export class PixelPanel {
  #runs;
  #plots;
  #x = element("pixel-x", HTMLInputElement);
  #y = element("pixel-y", HTMLInputElement);

  /**
   * @param {Runs} runs
   * @param {(pixel: Pixel) => void} onName  Told of a pixel that was named in the fields.
   */
  constructor(runs, onName) {
    this.#runs = runs;
    this.#plots = runs.list.map((run) => new PixelPlot(runs, run));
    element("pixel-runs", HTMLElement).append(...this.#plots.map((plot) => plot.root));
    this.#x.max = String(Math.max(...runs.list.map((run) => run.facts.width)) - 1);
    this.#y.max = String(Math.max(...runs.list.map((run) => run.facts.height)) - 1);
    for (const input of [this.#x, this.#y]) {
      input.addEventListener("change", () => {
        onName({ x: numberIn(this.#x), y: numberIn(this.#y) });
      });
    }
  }

  /**
   * Draw a pixel's way.
   *
   * @param {Pixel} pixel
   */
  show({ x, y }) {
    this.#x.value = String(x);
    this.#y.value = String(y);
    for (const plot of this.#plots) plot.show({ x, y });
  }

  /**
   * Move the cursors.
   *
   * @param {number} position
   */
  point(position) {
    for (const [number, run] of this.#runs.list.entries()) {
      this.#plots[number]?.point(this.#runs.frameOf(run, position));
    }
  }
}
