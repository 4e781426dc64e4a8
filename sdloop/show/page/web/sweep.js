// Where a sweep's page starts: the words at once, the pictures as soon as they are decoded.

import { element, html } from "./dom.js";
import { ColorMap } from "./pictures.js";
import { SmallRun } from "./small_run.js";
import { readSweepData } from "./sweep_data.js";
import { SweepPage } from "./sweep_page.js";
import { SweepRuns } from "./sweep_runs.js";
import { wireTheme } from "./theme.js";
import { writeFileList, writeHeader } from "./words.js";

const sweep = readSweepData();
const sweepColors = new ColorMap(sweep.viridis);
const smallRuns = sweep.runs.map((run) => new SmallRun(run, sweepColors));
const sweepRuns = new SweepRuns(smallRuns, sweep);
document.body.classList.add("several", "sweep");
wireTheme();
writeHeader(sweepRuns);
element("file-lists", HTMLElement).append(writeFileList(sweep.files));
element("exactness", HTMLElement).textContent =
  `These are small pictures${sweep.factor > 1 ? `, ${sweep.factor} times smaller than the runs’ own` : ""}` +
  `${sweep.quality === null ? "" : ` and compressed (WebP, quality ${sweep.quality})`}. ` +
  "A run’s own page, where it is kept, has them exactly.";
element("runs", HTMLElement).append(html("p", { class: "note" }));
await Promise.all(smallRuns.map((run) => run.load()));
element("runs", HTMLElement).replaceChildren();
new SweepPage(sweepRuns, sweep).update();
element("main", HTMLElement).removeAttribute("aria-busy");
