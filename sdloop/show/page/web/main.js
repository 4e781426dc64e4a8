// Where the page starts: the words at once, the pictures as soon as they are decoded.

import { readData } from "./data.js";
import { element } from "./dom.js";
import { loadAll, makeRuns, writeWords } from "./open.js";
import { Page } from "./page.js";
import { wireTheme } from "./theme.js";

const data = readData();
const runs = makeRuns(data);
wireTheme();
writeWords(runs);
const comparison = await loadAll(runs, data.comparison);
new Page(runs, data.charts, { comparison }).update();
element("main", HTMLElement).removeAttribute("aria-busy");
