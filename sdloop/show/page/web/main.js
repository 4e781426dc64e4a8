// Where the page starts: the words at once, the pictures as soon as they are decoded.

import { readData } from "./data.js";
import { element } from "./dom.js";
import { Page } from "./page.js";
import { ColorMap } from "./pictures.js";
import { Run } from "./run.js";
import { Runs } from "./runs.js";
import { wireTheme } from "./theme.js";
import { writeConfig, writeFiles, writeHeader, writeStills } from "./words.js";

const data = readData();
const colors = new ColorMap(data.viridis);
const runs = new Runs(
  data.runs.map((run) => new Run(run, colors)),
  data.shown_keys,
);
document.body.classList.toggle("several", runs.several);
wireTheme();
writeHeader(runs);
writeConfig(runs);
writeFiles(runs);
writeStills(runs);
await Promise.all(runs.list.map((run) => run.load()));
new Page(runs, data.charts).update();
element("main", HTMLElement).removeAttribute("aria-busy");
