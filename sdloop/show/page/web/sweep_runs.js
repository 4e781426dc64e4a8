// The runs of a sweep in step: by their share of the rows, or by how noisy their frames are.

/** @import { SmallRun } from "./small_run.js" */
/** @import { SweepData } from "./sweep_data.js" */
import { Runs, wordsFor } from "./runs.js";
import { percent } from "./text.js";

/** The runs of a sweep. The film shows one of them. */
export class SweepRuns extends Runs {
  /** @type {SmallRun} */
  #longest;
  #shown;
  #peak = 0;
  #byNoise = false;

  #keys;

  /**
   * @param {SmallRun[]} list
   * @param {SweepData} data
   */
  constructor(list, { shown_keys, keys }) {
    super(list, shown_keys);
    this.#keys = keys;
    this.small = list;
    const longest = list.find((run) => run === this.longest);
    if (!longest) throw new RangeError("the longest run is one of all");
    this.#longest = longest;
    this.#shown = longest;
  }

  /**
   * The size of the shown run's own pictures, not of the small ones here.
   *
   * @override
   */
  get size() {
    return this.#shown.size;
  }

  /** @override */
  get pace() {
    return this.#byNoise
      ? "each where it is about as noisy as the one with the most steps"
      : super.pace;
  }

  /**
   * Name a run by its values of the keys that are varied.
   *
   * @override
   * @param {SmallRun} run
   */
  nameOf(run) {
    return this.#keys.map((key) => wordsFor(key, run.config.get(key) ?? "–")).join(", ");
  }

  /**
   * The runs whose frames the film under the scrubber shows.
   *
   * @override
   */
  get filmed() {
    return [this.#shown];
  }

  /** The run that is shown large, and on the film. */
  get shown() {
    return this.#shown;
  }

  /** @param {SmallRun} run */
  show(run) {
    this.#shown = run;
  }

  /**
   * The largest difference of all runs, in 8-bit levels; all steps are there from the start.
   *
   * @override
   */
  get peak() {
    this.#peak ||= super.peak;
    return this.#peak;
  }

  /** @param {boolean} byNoise  Whether frames are shown together that are about equally noisy. */
  align(byNoise) {
    this.#byNoise = byNoise;
  }

  /**
   * Return the frame that a run shows at a position; all are there from the start.
   *
   * @override
   * @param {SmallRun} run
   * @param {number} position
   */
  plannedFrameOf(run, position) {
    if (!this.#byNoise) return super.plannedFrameOf(run, position);
    if (run === this.#longest) return position;
    const level = this.#levelAt(position);
    let nearest = 0;
    for (const [frame, each] of run.levels.entries()) {
      // of equally near ones the last: a frame that was only tried comes before the one that counts
      if (Math.abs(each - level) <= Math.abs((run.levels[nearest] ?? 0) - level)) nearest = frame;
    }
    return nearest;
  }

  /** @param {number} position */
  #levelAt(position) {
    return this.#longest.levels[position] ?? 0;
  }

  /**
   * @override
   * @param {number} position
   */
  describe(position) {
    if (!this.#byNoise) return super.describe(position);
    const noise = Math.sin((this.#levelAt(position) * Math.PI) / 2) ** 2;
    return `Position ${position} of ${this.positions - 1}: frames with about ${percent(noise)} noise, by power.`;
  }
}
