// How two runs differ from each other, frame by frame: a map beside their pictures.

/** @import { ComparisonData } from "./data.js" */
/** @import { Pixel, Run } from "./run.js" */
import { html } from "./dom.js";
import { colorBar, Figure } from "./figures.js";
import { decodePicture, levelsOf } from "./pictures.js";
import { written } from "./text.js";

/** The differences between two runs, and where on the page they are shown. */
export class ComparisonView {
  #data;
  /** @type {Uint8Array[]} */
  #levels = [];
  #where = html("p", { class: "where" });

  /**
   * @param {ComparisonData} data
   * @param {Run} run  The second one; both have the same shape.
   */
  constructor(data, run) {
    const { colors } = run;
    this.#data = data;
    this.run = run;
    const figure = new Figure(run, "between", "What differs", (context, frame) => {
      const levels = this.#levels[frame];
      if (!levels) return null;
      colors.paint(context, levels, 1);
      return `frame ${frame} of both`;
    });
    const ends = [
      html("span", { class: "note" }, "0"),
      colorBar(colors),
      html("span", { class: "note" }, `${written(data.peak)} of 255`),
    ];
    const row = html("span", { class: "bar-ends" }, ...ends);
    figure.caption.append(html("span", { class: "scale" }, row));
    this.figures = [figure];
    const title = "Between the two";
    const head = html("div", { class: "name" }, html("h2", {}, title), this.#where);
    const words = data.words ? [html("p", { class: "note parting" }, data.words)] : [];
    const pictures = html("div", { class: "pictures" }, figure.root, ...words);
    this.root = html("article", { class: "run comparison", "aria-label": title }, head, pictures);
  }

  /** Decode all maps. */
  async load() {
    this.#levels = await Promise.all(
      this.#data.frames.map(async (text) => levelsOf(await decodePicture(text))),
    );
  }

  /** @param {number} frame */
  show(frame) {
    // a large picture has more pixels than a call may have arguments
    const levels = this.#levels[frame] ?? new Uint8Array();
    const most = levels.reduce((peak, level) => Math.max(peak, level), 0) / 255;
    this.#where.textContent =
      most > 0
        ? `They differ by up to ${written(most * this.#data.peak)} of 255 here.`
        : "They do not differ here.";
    for (const figure of this.figures) figure.show(frame);
  }

  /** @param {Pixel} pixel */
  markPixel(pixel) {
    for (const figure of this.figures) figure.markPixel(this.run.nearest(pixel));
  }
}
