// What the live page shows: one run, or a fork beside its origin; under way, or from their pages.

/** @import { ChartData, Color, PageData, RunData, StepData } from "./data.js" */
/** @import { BeginData, NextStepData } from "./server.js" */
/** @import { Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { element } from "./dom.js";
import { loadAll, makeRuns, writeWords } from "./open.js";
import { Page } from "./page.js";
import { decodeStep } from "./run.js";
import { fetchPage } from "./server.js";

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
  #isDue = false;
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
      const run = liveRun(begin, origin);
      const { charts } = this.#data;
      const runs = await this.#open({ runs: origin ? [origin, run] : [run], charts });
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
      this.#isDue ||= step.frame !== null;
      // Drawing takes time from the run where both share a machine: a step without pictures waits
      // for the next one with some, and of several that have come only the last is drawn.
      if (this.#left > 1 || !this.#isDue) return;
      this.#isDue = false;
      this.#page?.follow(run);
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
      const page = await fetchPage(name);
      if (!page) return;
      // of a run that was stopped, or that left one that was, the page shows that run alone
      if (page.runs.length === 1 && originName !== null) {
        const origin = await this.#read(originName);
        if (origin) page.runs.unshift(origin);
      }
      await this.#open(page, place === undefined ? null : (this.#page?.position ?? place));
      this.#live = null;
    });
  }

  /**
   * Read a run from its page, unless it is known already; only what is shown is kept.
   *
   * @param {string} name
   */
  async #read(name) {
    return this.#known.get(name) ?? (await fetchPage(name))?.runs.at(-1) ?? null;
  }

  /**
   * Put runs onto the page in place of others.
   *
   * @param {Pick<PageData, "runs" | "charts"> & Partial<Pick<PageData, "comparison">>} data
   * @param {number | null} position
   * @returns {Promise<Runs>}
   */
  async #open(data, position = null) {
    const { viridis, shown_keys } = this.#data;
    const runs = makeRuns({ runs: data.runs, viridis, shown_keys });
    const comparison = await loadAll(runs, data.comparison ?? null);
    this.#page?.close();
    this.#known = new Map(data.runs.map((run) => [run.facts.name, run]));
    const main = /** @type {HTMLElement} */ (this.#pristine.cloneNode(true));
    main.removeAttribute("aria-busy");
    element("main", HTMLElement).replaceWith(main);
    writeWords(runs);
    const { charts } = data;
    this.#page = new Page(runs, charts, { begin: position, onMove: this.#onMove, comparison });
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
