// How the pictures are laid out.

/** @import { ComparisonView } from "./comparison.js" */
/** @import { RunView } from "./figures.js" */
/** @import { Runs } from "./runs.js" */
import { element } from "./dom.js";

const NARROW_PX = 640;
const LEAST_PX = { one: 384, several: 96 }; // of a picture, where there is room
const IN_VIEW = { one: 0.55, several: 0.62 }; // the share of the window's height for pictures

/**
 * Lay the pictures out: one run's beside each other, or large over small on a phone; several runs'
 * as a table, a run a row or a run a column, whichever gives the larger pictures.
 *
 * @param {Runs} runs
 * @param {(RunView | ComparisonView)[]} views
 */
export function arrange(runs, views) {
  const root = element("runs", HTMLElement);
  const width = root.clientWidth;
  const height = window.innerHeight;
  const isNarrow = width < NARROW_PX;
  const figures = views.flatMap((view) => view.figures);
  if (!runs.several) {
    root.className = isNarrow ? "hero" : "row";
    const limit = isNarrow ? width : Math.max(LEAST_PX.one, IN_VIEW.one * height);
    for (const figure of figures) figure.fit(limit);
    return;
  }
  const kinds = Math.max(...views.map((view) => view.figures.length));
  const inView = IN_VIEW.several * height;
  // beside a row stands the run's name
  const asRows = Math.min((isNarrow ? width : 0.8 * width) / kinds, inView / views.length);
  // of a column's pictures the first two should be in view together
  const asColumns = Math.min(width / views.length, inView / 2);
  root.className = asRows >= asColumns ? "rows" : "columns";
  root.style.setProperty("--runs", String(views.length));
  root.style.setProperty("--kinds", String(kinds));
  const limit = Math.max(asRows, asColumns, LEAST_PX.several);
  for (const figure of figures) figure.fit(limit);
}
