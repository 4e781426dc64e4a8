// One run: what is known of it from the start, and the frames and steps that have come so far.

/** @import { Color, RunData, StepData } from "./data.js" */
/** @import { ColorMap } from "./pictures.js" */
import { decodePicture, levelsOf, readableContext } from "./pictures.js";

/**
 * @typedef {object} Pixel
 * @property {number} x
 * @property {number} y
 */

/**
 * A step, decoded.
 *
 * @typedef {object} Step
 * @property {ImageBitmap | null} frame  Null where it was left out.
 * @property {Uint8Array} levels  The difference, one level a pixel: 255 stands for `peak`.
 * @property {Uint8Array | null} sixteenths  Of a level, plus 8: what its rounding took.
 * @property {ImageBitmap | null} z0Hat
 * @property {number} peak
 * @property {(number | null)[]} numbers
 * @property {WordMaps | null} attention
 */

/**
 * The maps of all words of a step side by side, one level a place.
 *
 * @typedef {object} WordMaps
 * @property {Uint8Array} levels
 * @property {number} width  Of all together.
 * @property {number} height
 */

/**
 * @param {string | null} text
 * @returns {Promise<WordMaps | null>}
 */
async function decodeMaps(text) {
  if (!text) return null;
  const bitmap = await decodePicture(text);
  const { width, height } = bitmap;
  return { levels: levelsOf(bitmap), width, height };
}

/**
 * Decode what a step brings.
 *
 * @param {StepData} data
 * @returns {Promise<Step>}
 */
export async function decodeStep(data) {
  const { frame, difference, sixteenths, z0_hat, peak, numbers } = data;
  const [frameBitmap, differenceBitmap, restBitmap, z0Hat, attention] = await Promise.all([
    frame === null ? null : decodePicture(frame),
    difference === null ? null : decodePicture(difference),
    sixteenths === null ? null : decodePicture(sixteenths),
    z0_hat === null ? null : decodePicture(z0_hat),
    decodeMaps(data.attention),
  ]);
  return {
    frame: frameBitmap,
    levels: differenceBitmap === null ? new Uint8Array() : levelsOf(differenceBitmap),
    sixteenths: restBitmap === null ? null : levelsOf(restBitmap),
    z0Hat,
    peak,
    numbers,
    attention,
  };
}

/** A run: N rows are planned; once n steps are made, there are n + 1 frames. */
export class Run {
  /** @type {ImageBitmap[]} */
  frames = [];
  /** @type {Step[]} */
  steps = [];
  #column;

  /**
   * @param {RunData} data
   * @param {ColorMap} colors  Of its differences.
   */
  constructor(data, colors) {
    this.data = data;
    this.facts = data.facts;
    this.colors = colors;
    this.config = new Map(data.facts.config);
    this.rows = data.facts.table.length;
    this.#column = readableContext(1, this.rows + 1);
  }

  /** Decode frame 0 and the steps that the page came with. */
  async load() {
    const [start, steps] = await Promise.all([
      decodePicture(this.data.start),
      Promise.all(this.data.steps.map(decodeStep)),
    ]);
    this.frames.push(start);
    for (const step of steps) this.append(step);
  }

  /**
   * Take the next step.
   *
   * @param {Step} step
   */
  append(step) {
    const frame = step.frame ?? this.frames.at(-1); // what was left out looks as before
    if (frame) this.frames.push(frame);
    this.steps.push(step);
  }

  /** The largest difference of any step so far, in 8-bit levels. */
  get peak() {
    return Math.max(...this.steps.map((step) => step.peak));
  }

  /**
   * Return a number of every step so far; null where there is none.
   *
   * @param {string} column
   */
  numbersOf(column) {
    const at = this.facts.columns.indexOf(column);
    return this.steps.map((step) => step.numbers[at] ?? null);
  }

  /**
   * Return the pixel itself, or the nearest that this run's pictures have.
   *
   * @param {Pixel} pixel
   * @returns {Pixel}
   */
  nearest({ x, y }) {
    return { x: Math.min(x, this.facts.width - 1), y: Math.min(y, this.facts.height - 1) };
  }

  /**
   * Return one pixel's colour in every frame so far.
   *
   * @param {Pixel} pixel
   * @returns {Color[]}
   */
  colorsAt({ x, y }) {
    for (const [at, frame] of this.frames.entries()) {
      this.#column.drawImage(frame, x, y, 1, 1, 0, at, 1, 1);
    }
    const { data } = this.#column.getImageData(0, 0, 1, this.frames.length);
    return this.frames.map((_, at) => {
      const [red = 0, green = 0, blue = 0] = data.subarray(4 * at);
      return [red, green, blue];
    });
  }

  /**
   * Return one pixel's difference in every step so far, in 8-bit levels.
   *
   * @param {Pixel} pixel
   */
  differencesAt({ x, y }) {
    const at = y * this.facts.width + x;
    return this.steps.map(({ levels, sixteenths, peak }) => {
      const level = (levels[at] ?? 0) + ((sixteenths?.[at] ?? 8) - 8) / 16;
      return (level / 255) * peak;
    });
  }
}
