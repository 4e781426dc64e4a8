// Where the page starts: the words at once, the pictures as soon as they are decoded.

import { ComparisonView } from "./comparison.js";
import { readData } from "./data.js";
import { element } from "./dom.js";
import { loadRuns, makeRuns, writeWords } from "./open.js";
import { Page } from "./page.js";
import { wireTheme } from "./theme.js";

const data = readData();
const runs = makeRuns(data);
wireTheme();
writeWords(runs);
const [, second] = runs.list;
const comparison = data.comparison && second ? new ComparisonView(data.comparison, second) : null;
await Promise.all([loadRuns(runs), comparison?.load()]);
new Page(runs, data.charts, { comparison }).update();
element("main", HTMLElement).removeAttribute("aria-busy");
