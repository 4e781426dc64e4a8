// A run of a sweep, in small pictures that came side by side in one file per kind.

/** @import { ColorMap } from "./pictures.js" */
/** @import { SmallRunData } from "./sweep_data.js" */
import { decodePicture, levelsOf } from "./pictures.js";
import { Run } from "./run.js";

/**
 * Take an atlas apart.
 *
 * @param {string} text  A WebP file in base64.
 * @param {number} count
 * @param {{ width: number, height: number }} size  Of each picture.
 * @returns {Promise<ImageBitmap[]>}
 */
async function picturesOf(text, count, { width, height }) {
  const atlas = await decodePicture(text);
  const columns = Math.ceil(Math.sqrt(count));
  const pictures = await Promise.all(
    Array.from({ length: count }, (_, at) => {
      const top = Math.floor(at / columns) * height;
      return createImageBitmap(atlas, (at % columns) * width, top, width, height);
    }),
  );
  atlas.close();
  return pictures;
}

/** A run like any other, but for where its pictures come from. */
export class SmallRun extends Run {
  #pictures;

  /**
   * @param {SmallRunData} small
   * @param {ColorMap} colors  Of its differences.
   */
  constructor(small, colors) {
    super(
      { facts: small.facts, start: "", steps: [], quality: null, files: [], stills: [] },
      colors,
    );
    this.#pictures = small;
    this.size = small.size;
    this.levels = small.levels;
    this.page = small.page;
  }

  /**
   * Decode everything.
   *
   * @override
   */
  async load() {
    const { frames, differences, z0_hat, peaks } = this.#pictures;
    const [[start, ...after], changes, z0Hats] = await Promise.all([
      picturesOf(frames, this.rows + 1, this.facts),
      picturesOf(differences, this.rows, this.facts),
      z0_hat === null ? [] : picturesOf(z0_hat, this.rows, this.facts),
    ]);
    if (!start) throw new RangeError("a run has one frame at least");
    this.frames.push(start);
    for (const [row, frame] of after.entries()) {
      const change = changes[row];
      this.append({
        frame,
        levels: change ? levelsOf(change) : new Uint8Array(),
        sixteenths: null,
        z0Hat: z0Hats[row] ?? null,
        attention: null,
        peak: peaks[row] ?? 0,
        numbers: [],
      });
    }
  }
}
