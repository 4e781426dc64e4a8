// The runs on the page: how they go in step, what sets them apart, where they stand in words.

/** @import { Run } from "./run.js" */
import { apart, percent } from "./text.js";

const COLORS = 6;

/** @type {Record<string, (value: string) => string>} */
const WORDS_FOR = {
  prompt: (value) => `“${apart(value)}”`,
  negative_prompt: (value) => `not “${apart(value)}”`,
  seed: (value) => `seed ${value}`,
  guidance_scale: (value) => `guidance ${value}`,
  "scheduler.type": (value) => value.toUpperCase(),
  "scheduler.num_steps": (value) => `${value} steps`,
  "start.run": () => "", // its frame says it
  "start.frame": (value) => (value === "null" ? "from the start" : `from frame ${value}`),
  "start.trajectory_sha256": () => "",
};

/**
 * Say a config value in words.
 *
 * @param {string} key
 * @param {string} value
 */
export function wordsFor(key, value) {
  return WORDS_FOR[key]?.(value) ?? `${key} ${apart(value)}`;
}

/**
 * Return the class that colours the n-th run, or the n-th line of a chart.
 *
 * @param {number} number
 */
export function colorOf(number) {
  return `color-${number % COLORS}`;
}

/**
 * The runs that the page shows in step.
 *
 * A position is a share of the way through the rows: the longest run has a frame at each, and the
 * others the nearest of theirs. Positions are known before the first step is made.
 */
export class Runs {
  #shownKeys;

  /**
   * @param {Run[]} list
   * @param {string[]} shownKeys  Top-level config keys that change no row.
   */
  constructor(list, shownKeys) {
    const [first] = list;
    if (!first) throw new RangeError("a page shows one run at least");
    const longest = list.reduce((most, run) => (run.rows > most.rows ? run : most), first);
    this.list = list;
    this.first = first;
    this.several = list.length > 1;
    this.longest = longest;
    this.positions = longest.rows + 1;
    this.stages = longest.facts.stages.map((row) => row + 1);
    this.#shownKeys = new Set(shownKeys);
    this.keys = [...new Set(list.flatMap((run) => [...run.config.keys()]))];
    // every run has a folder of its own, which tells nothing
    this.differing = new Set(this.keys.filter((key) => key !== "output" && this.#differs(key)));
  }

  /** @param {string} key */
  #differs(key) {
    return new Set(this.list.map((run) => run.config.get(key))).size > 1;
  }

  /** The size of the runs' pictures, in pixels. */
  get size() {
    return { width: this.first.facts.width, height: this.first.facts.height };
  }

  /**
   * How runs with different numbers of steps go together, in words.
   *
   * @returns {string}
   */
  get pace() {
    return this.several ? "each at the same share of its steps; the longest sets the pace" : "";
  }

  /** The runs whose frames the film under the scrubber shows. */
  get filmed() {
    return this.list;
  }

  /** The last position that a frame has come for. */
  get last() {
    const reached = this.list.map((run) => (run.steps.length * (this.positions - 1)) / run.rows);
    return Math.floor(Math.max(...reached));
  }

  /** The largest difference on the page, in 8-bit levels. */
  get peak() {
    return Math.max(...this.list.map((run) => run.peak));
  }

  /**
   * Return the frame that a run will show at a position, once it has come.
   *
   * @param {Run} run
   * @param {number} position
   */
  plannedFrameOf(run, position) {
    return Math.round((position * run.rows) / (this.positions - 1));
  }

  /**
   * Return the frame that a run shows at a position: the last one so far if that has not come yet.
   *
   * @param {Run} run
   * @param {number} position
   */
  frameOf(run, position) {
    return Math.min(this.plannedFrameOf(run, position), run.steps.length);
  }

  /**
   * Return the first position at which a run shows a frame, or one after it.
   *
   * @param {Run} run
   * @param {number} frame
   */
  positionOf(run, frame) {
    return Math.round((frame * (this.positions - 1)) / run.rows);
  }

  /**
   * Return where the middle of a position lies, as a share of the width that all plots have.
   *
   * @param {number} position
   */
  shareOf(position) {
    return (position + 0.5) / this.positions;
  }

  /**
   * Return where a run's frame lies, as a share of the same width.
   *
   * @param {Run} run
   * @param {number} frame
   */
  shareOfFrame(run, frame) {
    return this.shareOf((frame / run.rows) * (this.positions - 1));
  }

  /**
   * Say where a position is.
   *
   * @param {number} position
   */
  describe(position) {
    if (!this.several) return describe(this.first, position);
    const last = this.positions - 1;
    return `Position ${position} of ${last}, ${percent(position / last)} of the way.`;
  }

  /**
   * Name a run by what sets it apart.
   *
   * @param {Run} run
   */
  nameOf(run) {
    const words = [...this.differing]
      .filter((key) => !this.#shownKeys.has(key.split(".")[0] ?? key))
      .map((key) => wordsFor(key, run.config.get(key) ?? "–"))
      .filter(Boolean);
    return words.join(", ") || apart(run.facts.name);
  }
}

/**
 * Say where a run stands.
 *
 * @param {Run} run
 * @param {number} frame
 */
export function describe(run, frame) {
  const step = frame - 1;
  const row = run.facts.table[step];
  if (!row) return `Frame 0 of ${run.rows}: pure noise, before the first step.`;
  const { timestep, base_frame: base, signal_power: signal, mark } = row;
  const isOthers = frame <= (run.facts.start_frame ?? 0);
  const words = {
    "": "",
    tries: " This step only tries: no later one goes on from its frame.",
    again: ` This step is a correction: it starts again from frame ${base}.`,
    corrects: ` This step also corrects frame ${base}, from which it starts.`,
  };
  return (
    `Frame ${frame} of ${run.rows}, made by step ${step} at timestep ${timestep}: ` +
    `${percent(signal)} signal and ${percent(1 - signal)} noise, by power.${words[mark]}` +
    (isOthers ? " It is the other run’s frame." : "")
  );
}
