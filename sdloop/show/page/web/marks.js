// The marks on the film: which frames only tried, and which took a step again.

/** @import { TableRow } from "./data.js" */
/** @import { Runs } from "./runs.js" */
import { html } from "./dom.js";

/** @type {Record<Exclude<TableRow["mark"], "">, string>} */
const WORDS = {
  tries: "a trial: no later step goes on from this frame",
  again: "a correction: the step is taken again, from an earlier frame",
  corrects: "this step also corrects the frame from which it starts",
};

/**
 * Mark the cells of the film, each run's in its own lane.
 *
 * @param {HTMLElement} holder
 * @param {Runs} runs
 */
export function markFilm(holder, runs) {
  const lanes = runs.list.length;
  for (const [lane, run] of runs.list.entries()) {
    for (let position = 1; position < runs.positions; position++) {
      const frame = Math.round((position * run.rows) / (runs.positions - 1));
      const mark = run.facts.table[frame - 1]?.mark;
      if (mark) {
        const cell = html("span", { class: mark });
        cell.style.left = `${(100 * position) / runs.positions}%`;
        cell.style.width = `${100 / runs.positions}%`;
        cell.style.top = `${(100 * lane) / lanes}%`;
        cell.style.height = `${100 / lanes}%`;
        holder.append(cell);
      }
    }
  }
}

/**
 * Say what the marks mean that stand on the film.
 *
 * @param {HTMLElement} holder
 * @param {Runs} runs
 */
export function noteMarks(holder, runs) {
  const found = new Set(runs.list.flatMap((run) => run.facts.table.map((row) => row.mark)));
  for (const [mark, words] of Object.entries(WORDS)) {
    if ([...found].some((each) => each === mark)) {
      holder.append(html("span", {}, html("i", { class: mark }), words));
      holder.hidden = false;
    }
  }
}
