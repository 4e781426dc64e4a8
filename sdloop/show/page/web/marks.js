// The marks on the film: which frames only tried, and which took a step again.

/** @import { TableRow } from "./data.js" */
/** @import { Runs } from "./runs.js" */
import { html } from "./dom.js";

/** @type {Record<Exclude<TableRow["mark"], ""> | "fork", string>} */
const WORDS = {
  fork: "a fork: here the run left the other one, whose frames are those before",
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
  const lanes = runs.filmed.length;
  holder.replaceChildren();
  for (const [lane, run] of runs.filmed.entries()) {
    for (let position = 0; position < runs.positions; position++) {
      const frame = runs.plannedFrameOf(run, position);
      const isFork = frame === run.facts.start_frame;
      const marks = [run.facts.table[frame - 1]?.mark ?? "", isFork ? "fork" : ""];
      for (const mark of marks.filter(Boolean)) {
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
  const found = new Set(
    runs.list.flatMap(({ facts }) => [
      ...facts.table.map((row) => row.mark),
      ...(facts.start_frame === null ? [] : ["fork"]),
    ]),
  );
  for (const [mark, words] of Object.entries(WORDS)) {
    if ([...found].some((each) => each === mark)) {
      holder.append(html("span", {}, html("i", { class: mark }), words));
      holder.hidden = false;
    }
  }
}
