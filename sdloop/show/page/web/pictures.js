// Pictures: out of the page's data, onto canvases.

const table = new Uint32Array(1);  // how this machine lays a pixel's four bytes into a word
const pixelOf = (red, green, blue) => {
  new Uint8Array(table.buffer).set([red, green, blue, 255]);
  return table[0];
};

/** Base64 -> bitmap, byte for byte: without the screen's colours. */
async function decodePicture(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return createImageBitmap(new Blob([bytes], { type: "image/webp" }), options);
}

const decodePictures = (texts) => Promise.all(texts.map(decodePicture));

/** Keep what is asked for pixel by pixel in memory, not on the graphics card. */
function readableContext(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  return canvas.getContext("2d", { willReadFrequently: true });
}

/** One run: the facts of the page's data, and its pictures. */
class Run {
  static async load(facts, viridis) {
    const run = new Run();
    run.facts = facts;
    run.viridis = viridis;
    run.words = Uint32Array.from(viridis, (color) => pixelOf(...color));
    [run.frames, run.z0Hats] = await Promise.all([
      decodePictures(facts.frames),
      decodePictures(facts.z0_hat ?? []),
    ]);
    const context = readableContext(facts.width, facts.height);
    run.levels = (await decodePictures(facts.differences)).map((bitmap) => {
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, facts.width, facts.height);
      bitmap.close();
      return Uint8Array.from({ length: data.length / 4 }, (_, pixel) => data[4 * pixel]);
    });
    run.column = readableContext(1, run.frames.length);
    return run;
  }

  get rows() {
    return this.levels.length;
  }

  get peak() {
    return Math.max(...this.facts.peaks);
  }

  /** Draw |frame - frame before|; `yellow` is the difference that the bright end stands for. */
  paintDifference(canvas, row, yellow) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const gain = yellow > 0 ? this.facts.peaks[row] / yellow : 0;
    const colors = this.words.map((_, level) => this.words[Math.round(level * gain)]);
    const out = new Uint32Array(image.data.buffer);
    const levels = this.levels[row];
    for (let pixel = 0; pixel < out.length; pixel++) out[pixel] = colors[levels[pixel]];
    context.putImageData(image, 0, 0);
  }

  /** Return one pixel's colour in every frame, [red, green, blue] each. */
  colorsAt(x, y) {
    this.frames.forEach((frame, at) => this.column.drawImage(frame, x, y, 1, 1, 0, at, 1, 1));
    const { data } = this.column.getImageData(0, 0, 1, this.frames.length);
    return this.frames.map((_, at) => [...data.subarray(4 * at, 4 * at + 3)]);
  }

  /** Return one pixel's difference in every row, in 8-bit levels. */
  differencesAt(x, y) {
    const pixel = y * this.facts.width + x;
    return this.levels.map((levels, row) => (levels[pixel] / 255) * this.facts.peaks[row]);
  }
}

/** Draw what a run shows at every position as narrow cells: the run as a strip of film. */
function paintFilm(canvas, runs, positions, frameOf) {
  const ratio = window.devicePixelRatio;
  const width = (canvas.width = Math.round(canvas.clientWidth * ratio));
  const height = (canvas.height = Math.round(canvas.clientHeight * ratio));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const strip = height / runs.length;
  runs.forEach((run, number) => {
    for (let position = 0; position < positions; position++) {
      const left = Math.round((position * width) / positions);
      const cell = Math.round(((position + 1) * width) / positions) - left;
      const frame = run.frames[frameOf(run, position)];
      // the middle of the frame, as much of it as the cell's shape holds
      const shape = cell / strip;
      const cutWidth = Math.min(frame.width, frame.height * shape);
      const cutHeight = Math.min(frame.height, frame.width / shape);
      context.drawImage(
        frame,
        (frame.width - cutWidth) / 2, (frame.height - cutHeight) / 2, cutWidth, cutHeight,
        left, number * strip, cell, strip,
      );
    }
  });
}
