// The words around the pictures: what was run, with which values, and what it left behind.

/** @import { LinkedFile } from "./data.js" */
/** @import { Runs } from "./runs.js" */
import { element, html } from "./dom.js";
import { wordsFor } from "./runs.js";
import { apart } from "./text.js";

const LONG_TITLE = 90; // characters; a longer title is set smaller

/**
 * Write the prompt, and what all runs have in common.
 *
 * @param {Runs} runs
 */
export function writeHeader(runs) {
  const { facts, config } = runs.first;
  const prompts = new Set(runs.list.map((run) => run.facts.prompt));
  const prompt = facts.prompt ? wordsFor("prompt", facts.prompt) : "No prompt";
  const text = prompts.size === 1 ? prompt : `${runs.list.length} runs in step`;
  const title = element("title", HTMLElement);
  title.textContent = text;
  title.classList.toggle("long", text.length > LONG_TITLE);
  const words = ["scheduler.type", "scheduler.num_steps", "guidance_scale", "seed"]
    .filter((key) => !runs.differing.has(key))
    .map((key) => wordsFor(key, config.get(key) ?? "–"));
  if (!runs.differing.has("model")) {
    words.unshift(`model ${apart(config.get("model")?.split("/").pop() ?? "–")}`);
  }
  if (!(runs.differing.has("width") || runs.differing.has("height")))
    words.push(`${runs.size.width} × ${runs.size.height} px`);
  const pace = html("span", { id: "pace" });
  const spans = words.map((word) => html("span", {}, word));
  element("facts", HTMLElement).replaceChildren(...spans, pace);
  writePace(runs);
}

/**
 * Say how runs with different numbers of steps go together.
 *
 * @param {Runs} runs
 */
export function writePace(runs) {
  element("pace", HTMLElement).textContent = runs.pace;
}

/**
 * List one run's values, or several runs' side by side with those marked that differ.
 *
 * @param {Runs} runs
 */
export function writeConfig(runs) {
  element("values", HTMLElement).append(runs.several ? valuesTable(runs) : valuesList(runs));
}

/** @param {Runs} runs */
function valuesList({ first }) {
  const pairs = [...first.config].map(([key, value]) =>
    html("div", {}, html("dt", {}, key), html("dd", {}, value)),
  );
  return html("dl", {}, ...pairs);
}

/** @param {Runs} runs */
function valuesTable({ list, keys, differing }) {
  const names = ["key", ...list.map((run) => run.facts.name)];
  const head = names.map((name) => html("th", { scope: "col" }, name));
  const rows = keys.map((key) => {
    const name = html("th", { scope: "row" }, key);
    if (differing.has(key)) name.append(html("span", { class: "unseen" }, " (differs)"));
    const cells = list.map((run) => html("td", {}, run.config.get(key) ?? "–"));
    return html("tr", { class: differing.has(key) ? "differs" : "" }, name, ...cells);
  });
  const thead = html("thead", {}, html("tr", {}, ...head));
  const table = html("table", {}, thead, html("tbody", {}, ...rows));
  const region = { tabindex: 0, role: "region", "aria-labelledby": "config-title" };
  return html("div", { class: "scroll", ...region }, table);
}

/**
 * Link files.
 *
 * @param {LinkedFile[]} files
 * @param {...HTMLElement} before  Stand first.
 */
export function writeFileList(files, ...before) {
  const links = files.map((file) =>
    html("li", {}, html("a", { href: file.href, download: "" }, file.name)),
  );
  return html("ul", {}, ...before, ...links);
}

/**
 * Link the runs' files, and say whether the pictures are exact.
 *
 * @param {Runs} runs
 */
export function writeFiles({ list, several }) {
  // inside a notebook the way from the page to its files is not known
  const isReachable = location.href !== "about:srcdoc";
  const linked = isReachable ? list.filter((run) => run.data.files.length > 0) : [];
  element("files-title", HTMLElement).hidden = linked.length === 0;
  element("file-lists", HTMLElement).append(
    ...linked.map(({ facts, data }) => {
      const name = several ? [html("li", { class: "note" }, facts.name)] : [];
      return writeFileList(data.files, ...name);
    }),
  );
  const qualities = list.map((run) => run.data.quality).filter((quality) => quality !== null);
  element("exactness", HTMLElement).textContent =
    qualities.length === 0
      ? "The pictures on this page are exact to the pixel: colours and differences are the run's."
      : `The pictures on this page are compressed to fit (WebP, quality ${Math.min(...qualities)}); ` +
        "the exact data are in trajectory.safetensors.";
}

/**
 * Show the pictures of the whole run.
 *
 * @param {Runs} runs
 */
export function writeStills(runs) {
  const figures = runs.list.flatMap((run) =>
    run.data.stills.map(({ title, caption, src }, at) => {
      const words = runs.several ? `${runs.nameOf(run)}. ${caption}` : caption;
      const image = html("img", { src, alt: `${title}: ${caption}` });
      const note = html("span", { class: "note" }, words);
      const figcaption = html("figcaption", {}, html("strong", {}, title), note);
      return html("figure", { class: at === 0 ? "first" : "" }, image, figcaption);
    }),
  );
  const stills = element("stills", HTMLElement);
  stills.hidden = figures.length === 0;
  stills.append(...figures);
}
