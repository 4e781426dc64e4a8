// A run's pictures on the page: what stands under each, their size, the pixel that is pointed at.

/** @import { ColorMap } from "./pictures.js" */
/** @import { Pixel, Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
/** @import { Scale } from "./scale.js" */
import { contextOf, html } from "./dom.js";
import { colorOf, describe } from "./runs.js";
import { written } from "./text.js";

/** One picture with its caption. */
export class Figure {
  #title;
  #paint;
  #note = html("span", { class: "note" });

  /**
   * @param {Run} run
   * @param {"frame" | "difference" | "z0_hat" | "between"} kind
   * @param {string} title
   * @param {(context: CanvasRenderingContext2D, frame: number) => string | null} paint  Says what it
   *   painted, or returns null where there is nothing to paint.
   */
  constructor({ facts }, kind, title, paint) {
    this.kind = kind;
    this.#title = title;
    this.#paint = paint;
    const { width, height } = facts;
    this.canvas = html("canvas", { width, height, role: "img" });
    this.mark = html("span", { class: "mark", hidden: "" });
    this.plate = html("div", { class: "plate" }, this.canvas, this.mark);
    this.caption = html("figcaption", {}, html("strong", {}, title), this.#note);
    this.root = html("figure", { class: kind }, this.plate, this.caption);
  }

  /** @param {number} frame */
  show(frame) {
    const note = this.#paint(contextOf(this.canvas), frame);
    this.plate.classList.toggle("empty", note === null);
    this.#note.textContent = note ?? "nothing before the first step";
    const label = note === null ? "nothing yet" : note;
    this.canvas.setAttribute("aria-label", `${this.#title}: ${label}`);
  }

  /**
   * Enlarge by the largest whole factor that fits, counted in the screen's own pixels.
   *
   * @param {number} limitPx
   */
  fit(limitPx) {
    const { width } = this.canvas;
    const ratio = window.devicePixelRatio;
    const room = Math.min(this.root.clientWidth, limitPx);
    const factor = Math.floor((room * ratio) / width);
    this.canvas.classList.toggle("enlarged", factor >= 1);
    this.plate.style.width = `${factor >= 1 ? (factor * width) / ratio : room}px`;
  }

  /** @param {Pixel} pixel */
  markPixel({ x, y }) {
    this.mark.hidden = false;
    this.mark.style.left = `${(100 * (x + 0.5)) / this.canvas.width}%`;
    this.mark.style.top = `${(100 * (y + 0.5)) / this.canvas.height}%`;
  }

  /**
   * Return the pixel under the pointer.
   *
   * @param {MouseEvent} event
   * @returns {Pixel}
   */
  pixelAt({ clientX, clientY }) {
    const { left, top, width, height } = this.plate.getBoundingClientRect();
    /** @type {(share: number, count: number) => number} */
    const inside = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
    return {
      x: inside((clientX - left) / width, this.canvas.width),
      y: inside((clientY - top) / height, this.canvas.height),
    };
  }
}

/**
 * Draw all colours of a map, dark to bright.
 *
 * @param {ColorMap} colors
 */
export function colorBar(colors) {
  const bar = html("canvas", { width: 256, height: 1, class: "bar", "aria-hidden": "true" });
  const levels = Uint8Array.from({ length: 256 }, (_, level) => level);
  colors.paint(contextOf(bar), levels, 1);
  return bar;
}

/** One run: its name, where it stands, and its figures. */
export class RunView {
  #run;
  #where = html("p", { class: "where" });

  /**
   * @param {Runs} runs
   * @param {Run} run
   * @param {Scale} scale
   */
  constructor(runs, run, scale) {
    this.#run = run;
    this.run = run;
    this.figures = [
      this.#frameFigure(),
      this.#differenceFigure(scale),
      ...(run.facts.has_z0_hat ? [this.#z0HatFigure()] : []),
    ];
    const name = runs.nameOf(run);
    const swatch = html("span", { class: `swatch ${colorOf(runs.list.indexOf(run))}` });
    const head = html("div", { class: "name" }, html("h2", {}, swatch, name), this.#where);
    const pictures = html("div", { class: "pictures" }, ...this.figures.map(({ root }) => root));
    const parts = runs.several ? [head, pictures] : [pictures];
    this.root = html("article", { class: "run", "aria-label": name }, ...parts);
  }

  #frameFigure() {
    const run = this.#run;
    return new Figure(run, "frame", "The picture so far", (context, frame) => {
      const picture = run.frames[frame];
      if (!picture) return null;
      context.drawImage(picture, 0, 0);
      return `frame ${frame} of ${run.rows}`;
    });
  }

  #z0HatFigure() {
    const run = this.#run;
    const by = run.facts.small_decoder ? ", drawn by a small decoder" : "";
    return new Figure(run, "z0_hat", "The picture the model believes in", (context, frame) => {
      const picture = run.steps[frame - 1]?.z0Hat;
      if (!picture) return null;
      context.drawImage(picture, 0, 0);
      return `z0_hat, predicted by step ${frame - 1}${by}`;
    });
  }

  /** @param {Scale} scale */
  #differenceFigure(scale) {
    const run = this.#run;
    const brightest = html("span", { class: "note" });
    const figure = new Figure(run, "difference", "What this step changed", (context, frame) => {
      const step = run.steps[frame - 1];
      brightest.textContent = "–";
      if (!step) return null;
      const yellow = scale.yellow(step);
      brightest.textContent = `${written(yellow)} of 255`;
      run.colors.paint(context, step.levels, yellow > 0 ? step.peak / yellow : 0);
      return `frame ${frame} against frame ${frame - 1}`;
    });
    const ends = [html("span", { class: "note" }, "0"), colorBar(run.colors), brightest];
    const row = html("span", { class: "bar-ends" }, ...ends);
    figure.caption.append(html("span", { class: "scale" }, row));
    return figure;
  }

  /** @param {number} frame */
  show(frame) {
    this.#where.textContent = describe(this.#run, frame);
    for (const figure of this.figures) figure.show(frame);
  }

  /** @param {Pixel} pixel */
  markPixel(pixel) {
    for (const figure of this.figures) figure.markPixel(this.#run.nearest(pixel));
  }
}
