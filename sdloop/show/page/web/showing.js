// What the live page shows: one run, or a fork beside its origin; under way, or from their pages.

/** @import { ChartData, Color, RunData, StepData } from "./data.js" */
/** @import { BeginData, NextStepData } from "./server.js" */
/** @import { Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { element } from "./dom.js";
import { loadRuns, makeRuns, writeWords } from "./open.js";
import { Page } from "./page.js";
import { decodeStep } from "./run.js";
import { fetchRun } from "./server.js";

const PREVIEWS =
  "Quick previews while the run is under way; every frame is decoded in full when it ends.";

/**
 * @typedef {object} ShownData  What the page knows before the first run.
 * @property {ChartData[]} charts
 * @property {Color[]} viridis
 * @property {string[]} shown_keys
 */

/**
 * Make a step of which only the place is known.
 *
 * @param {(number | null)[]} numbers
 * @returns {StepData}
 */
function blankStep(numbers) {
  const none = { frame: null, difference: null, sixteenths: null, z0_hat: null, attention: null };
  return { ...none, peak: 0, numbers };
}

/**
 * Write a run that is under way as a page has it, with the steps that it shares with its origin.
 *
 * @param {BeginData} begin
 * @param {RunData | null} origin
 * @returns {RunData}
 */
function liveRun({ facts, start, first }, origin) {
  const shared = origin?.steps.slice(0, first) ?? [];
  const steps = Array.from({ length: first }, (_, row) => {
    const step = shared[row];
    if (!(step && origin)) return blankStep(facts.columns.map(() => null));
    const numbers = facts.columns.map((name) => {
      const at = origin.facts.columns.indexOf(name);
      return step.numbers[at] ?? null;
    });
    return { ...step, numbers };
  });
  const begun = origin && first > 0 ? origin.start : start;
  return { facts, start: begun, steps, quality: 0, files: [], stills: [] };
}

/** Shows runs, one after the other. What is asked of it is done in turn. */
export class Showing {
  #data;
  #onMove;
  #pristine;
  /** @type {Page | null} */
  #page = null;
  /** @type {Map<string, RunData>} */
  #known = new Map();
  /** @type {Run | null} */
  #live = null;
  #turn = Promise.resolve();
  #left = 0;
  /** The run that is shown, or is about to be; a fork's origin beside it is not named. */
  name = "";
  isLive = false;

  /**
   * @param {ShownData} data
   * @param {() => void} onMove  Called when another frame is shown.
   */
  constructor(data, onMove) {
    this.#data = data;
    this.#onMove = onMove;
    const main = element("main", HTMLElement);
    this.#pristine = /** @type {HTMLElement} */ (main.cloneNode(true));
    main.hidden = true;
    main.removeAttribute("aria-busy");
  }

  /** The frame of the run that is shown, and how many rows it has; null if there is none. */
  get place() {
    const run = this.#page?.runs.list.at(-1);
    return run && this.#page
      ? { frame: this.#page.runs.frameOf(run, this.#page.position), rows: run.rows, run }
      : null;
  }

  /**
   * Show a run from its beginning on.
   *
   * @param {BeginData} begin
   * @param {string | null} originName
   */
  begin(begin, originName) {
    this.name = begin.name;
    this.isLive = true;
    this.#soon(async () => {
      const origin = originName === null || begin.first === 0 ? null : await this.#read(originName);
      const run = liveRun(begin, origin?.run ?? null);
      const runs = await this.#open(origin ? [origin.run, run] : [run], this.#data.charts, null);
      this.#live = runs.list.at(-1) ?? null;
      const { bottom } = element("runs", HTMLElement).getBoundingClientRect();
      if (bottom > window.innerHeight) element("runs", HTMLElement).scrollIntoView();
      element("exactness", HTMLElement).textContent = PREVIEWS;
    });
  }

  /**
   * Take the next step of the run that is shown; others are passed over.
   *
   * @param {NextStepData} next
   */
  step({ name, row, step }) {
    if (name !== this.name) return;
    this.#soon(async () => {
      const run = this.#live;
      if (!run || name !== this.name || row !== run.steps.length) return;
      run.append(await decodeStep(step));
      // drawing waits until the last of several steps is there
      if (this.#left === 1) this.#page?.follow(run);
    });
  }

  /**
   * Show a run that has ended from its own page; keep the place if it is shown already.
   *
   * @param {string} name
   * @param {string | null} originName
   */
  end(name, originName) {
    const place = name === this.name && this.#page ? this.#page.position : undefined;
    this.name = name;
    this.isLive = false;
    this.#known.delete(name);
    this.#soon(async () => {
      if (name !== this.name) return;
      const read = await this.#read(name);
      if (!read) return;
      const origin = originName === null ? null : await this.#read(originName);
      const runs = origin ? [origin.run, read.run] : [read.run];
      const position = place === undefined ? undefined : (this.#page?.position ?? place);
      await this.#open(runs, read.charts, position ?? null);
      this.#live = null;
    });
  }

  /**
   * Read a run's page, unless it is known already; only what is shown is kept.
   *
   * @param {string} name
   */
  async #read(name) {
    const known = this.#known.get(name);
    return known ? { run: known, charts: this.#data.charts } : await fetchRun(name);
  }

  /**
   * Put runs onto the page in place of others.
   *
   * @param {RunData[]} list
   * @param {ChartData[]} charts
   * @param {number | null} position
   * @returns {Promise<Runs>}
   */
  async #open(list, charts, position = null) {
    const { viridis, shown_keys } = this.#data;
    const runs = makeRuns({ runs: list, viridis, shown_keys });
    await loadRuns(runs);
    this.#page?.close();
    this.#known = new Map(list.map((run) => [run.facts.name, run]));
    const main = /** @type {HTMLElement} */ (this.#pristine.cloneNode(true));
    main.removeAttribute("aria-busy");
    element("main", HTMLElement).replaceWith(main);
    writeWords(runs);
    this.#page = new Page(runs, charts, { begin: position, onMove: this.#onMove });
    this.#page.update();
    return runs;
  }

  /**
   * Do something once all before it is done; what fails is left out.
   *
   * @param {() => Promise<void>} action
   */
  #soon(action) {
    this.#left += 1;
    this.#turn = this.#turn
      .then(action)
      .catch(reportError)
      .then(() => {
        this.#left -= 1;
        this.#onMove();
      });
  }
}
