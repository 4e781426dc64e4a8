// Pictures: out of the page's data, and into colours.

/** @import { Color } from "./data.js" */

/**
 * Decode a picture byte for byte, without the screen's colour profile.
 *
 * @param {string} text  A WebP file in base64.
 */
export async function decodePicture(text) {
  const image = new Image(); // sooner than by way of a Blob, which takes the browser's own process
  image.src = `data:image/webp;base64,${text}`;
  await image.decode();
  return createImageBitmap(image, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/**
 * Make a canvas to read pixels from: it stays in memory, not on the graphics card.
 *
 * @param {number} width
 * @param {number} height
 */
export function readableContext(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context) return context;
  throw new TypeError("this browser draws on no canvas off the screen");
}

/**
 * Read a grey picture's levels.
 *
 * @param {ImageBitmap} bitmap  It is closed.
 * @returns {Uint8Array}  One a pixel.
 */
export function levelsOf(bitmap) {
  const { width, height } = bitmap;
  const context = readableContext(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, pixel) => data[4 * pixel] ?? 0);
}

/** Colours for levels 0 to 255. */
export class ColorMap {
  #colors;
  #words;

  /** @param {Color[]} colors */
  constructor(colors) {
    this.#colors = colors;
    // a canvas takes a pixel's four bytes as one word, in the order of this machine
    this.#words = new Uint32Array(
      Uint8Array.from(colors.flatMap((color) => [...color, 255])).buffer,
    );
  }

  /**
   * Return the colour of a level, for CSS.
   *
   * @param {number} level
   */
  css(level) {
    return `rgb(${(this.#colors[Math.round(level)] ?? []).join(" ")})`;
  }

  /**
   * Paint levels onto a canvas.
   *
   * @param {CanvasRenderingContext2D} context
   * @param {Uint8Array} levels  One for each of its pixels.
   * @param {number} gain  What they are multiplied by first.
   */
  paint(context, levels, gain) {
    const image = context.createImageData(context.canvas.width, context.canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    const colors = this.#words.map((_, level) => this.#words[Math.round(level * gain)] ?? 0);
    for (let pixel = 0; pixel < pixels.length; pixel++) {
      pixels[pixel] = colors[levels[pixel] ?? 0] ?? 0;
    }
    context.putImageData(image, 0, 0);
  }
}
