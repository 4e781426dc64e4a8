// Runs -> the words and pictures of the page; from a file or while they are under way.

/** @import { ComparisonData, PageData } from "./data.js" */
import { ComparisonView } from "./comparison.js";
import { ColorMap } from "./pictures.js";
import { Run } from "./run.js";
import { Runs } from "./runs.js";
import { writeConfig, writeFiles, writeHeader, writeStills } from "./words.js";

/**
 * Make the runs of a page; their pictures are not decoded yet.
 *
 * @param {Pick<PageData, "runs" | "viridis" | "shown_keys">} data
 */
export function makeRuns(data) {
  const colors = new ColorMap(data.viridis);
  const list = data.runs.map((run) => new Run(run, colors));
  return new Runs(list, data.shown_keys);
}

/**
 * Decode the pictures that have come.
 *
 * @param {Runs} runs
 * @param {ComparisonData | null} data  What differs between two runs.
 * @returns {Promise<ComparisonView | null>}
 */
export async function loadAll(runs, data) {
  const [, second] = runs.list;
  const comparison = data && second ? new ComparisonView(data, second) : null;
  await Promise.all([...runs.list.map((run) => run.load()), comparison?.load()]);
  return comparison;
}

/**
 * Write all that needs no picture.
 *
 * @param {Runs} runs
 */
export function writeWords(runs) {
  document.body.classList.toggle("several", runs.several);
  writeHeader(runs);
  writeConfig(runs);
  writeFiles(runs);
  writeStills(runs);
}
