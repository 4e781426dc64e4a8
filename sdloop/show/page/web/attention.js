// The words of a prompt: press one to see where it is attended, how much, and what changed there.

/** @import { WordFacts } from "./data.js" */
/** @import { RunView } from "./figures.js" */
/** @import { Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
/** @import { Measure } from "./wordplot.js" */
import { contextOf, element, html } from "./dom.js";
import { apart, percent, written } from "./text.js";
import { WordPlot } from "./wordplot.js";

const OVER = /** @type {const} */ ({
  frame: "the picture",
  difference: "the change",
  z0_hat: "the picture believed in",
});

/** @typedef {keyof typeof OVER} Kind */
/** @typedef {Pick<RunView, "figures">} View */

/**
 * @param {string} value
 * @returns {value is Kind}
 */
const isKind = (value) => value in OVER;

/** One run's words. */
class RunWords {
  #runs;
  #run;
  #view;
  #words;
  #plots;
  #buttons;
  #pressed = -1;
  #position = 0;
  #says = html("p", { class: "values" });
  #overlay = html("canvas", { class: "attention", "aria-hidden": "true", hidden: "" });

  /**
   * @param {Runs} runs
   * @param {Run} run
   * @param {View} view
   */
  constructor(runs, run, view) {
    this.#runs = runs;
    this.#run = run;
    this.#view = view;
    const words = run.facts.words ?? [];
    this.#words = words;
    this.#buttons = words.map((word, at) => this.#button(word, at));
    this.#plots = [new WordPlot(runs, run, "attention"), new WordPlot(runs, run, "change")];
    const inOrder = [...words.keys()].sort((a, b) => this.#isApart(a) - this.#isApart(b));
    const buttons = inOrder.flatMap((at) => this.#buttons[at] ?? []);
    buttons.find((button) => button.classList.contains("apart"))?.classList.add("first-apart");
    const row = html("div", { class: "word-row", role: "group" }, ...buttons);
    row.setAttribute("aria-label", `Words of ${runs.nameOf(run)}`);
    const head = runs.several ? [html("h3", { class: "note" }, runs.nameOf(run))] : [];
    const plots = html("div", { class: "word-plots" }, ...this.#plots.map(({ root }) => root));
    this.root = html("div", { class: "word-run" }, ...head, row, this.#says, plots);
  }

  /** @param {(position: number) => void} onScrub */
  followPointer(onScrub) {
    for (const plot of this.#plots) plot.followPointer(onScrub);
  }

  /** @param {number} at */
  #isApart(at) {
    return Number(this.#words[at]?.apart ?? false);
  }

  /**
   * @param {WordFacts} word
   * @param {number} at
   */
  #button(word, at) {
    const button = html("button", { type: "button", "aria-pressed": "false" });
    button.append(html("span", {}, apart(word.text)), html("small", {}));
    button.classList.toggle("apart", word.apart);
    button.addEventListener("click", () => this.#press(at === this.#pressed ? -1 : at));
    return button;
  }

  /** @param {number} at */
  #press(at) {
    this.#pressed = at;
    for (const [number, button] of this.#buttons.entries()) {
      button.setAttribute("aria-pressed", String(number === at));
    }
    this.update();
    this.point(this.#position);
  }

  /**
   * Lay the map over another picture.
   *
   * @param {Kind} kind
   */
  layOver(kind) {
    this.#view.figures.find((figure) => figure.kind === kind)?.plate.append(this.#overlay);
  }

  /** Draw the plots again. */
  update() {
    for (const plot of this.#plots) plot.update(this.#pressed);
  }

  /** @param {number} position */
  point(position) {
    this.#position = position;
    const row = this.#runs.frameOf(this.#run, position) - 1;
    for (const plot of this.#plots) plot.point(position, row);
    for (const [at, word] of this.#words.entries()) {
      const share = this.#numberOf(word, "attention", row);
      const small = this.#buttons[at]?.querySelector("small");
      if (small) small.textContent = share === null ? "–" : percent(share);
    }
    this.#says.textContent = this.#sentence(row);
    this.#paint(row);
  }

  /**
   * @param {WordFacts} word
   * @param {Measure} measure
   * @param {number} row
   */
  #numberOf(word, measure, row) {
    const at = this.#run.facts.columns.indexOf(word[measure]);
    return this.#run.steps[row]?.numbers[at] ?? null;
  }

  /**
   * Say which word moved the picture in a step.
   *
   * @param {number} row
   */
  #sentence(row) {
    if (row < 0) return "Before the first step nothing is attended.";
    const words = this.#words.filter((each) => !each.apart);
    const [first] = words;
    if (!first) return "The prompt has no words.";
    if (this.#numberOf(first, "attention", row) === null) {
      return `Of step ${row} no attention was kept.`;
    }
    const changes = words.map((each) => this.#numberOf(each, "change", row) ?? -1);
    const most = changes.indexOf(Math.max(...changes));
    const word = words[most];
    if (!word || changes[most] === -1) return `Step ${row} changed nothing.`;
    const where = `Step ${row} changed the picture most where “${apart(word.text)}” is attended`;
    const pressed = this.#words[this.#pressed];
    const own = pressed ? this.#numberOf(pressed, "change", row) : null;
    const also =
      pressed && own !== null && pressed !== word
        ? `; where “${apart(pressed.text)}” is, ${written(own)} times`
        : "";
    return `${where}: ${written(changes[most])} times what chance gives${also}.`;
  }

  /** @param {number} row */
  #paint(row) {
    const maps = this.#run.steps[row]?.attention ?? null;
    this.#overlay.hidden = maps === null || this.#pressed < 0;
    if (maps === null || this.#pressed < 0) return;
    const width = maps.width / this.#words.length;
    const left = this.#pressed * width;
    const own = Uint8Array.from({ length: width * maps.height }, (_, place) => {
      const line = Math.floor(place / width);
      return maps.levels[line * maps.width + left + (place % width)] ?? 0;
    });
    this.#overlay.width = width;
    this.#overlay.height = maps.height;
    this.#run.colors.paint(contextOf(this.#overlay), own, 1);
  }
}

/** The section of the words; without any attention it is not there. */
export class WordsPanel {
  #panels;

  /**
   * @param {Runs} runs
   * @param {View[]} views  The runs' in order; others may follow.
   * @param {(position: number) => void} onScrub
   */
  constructor(runs, views, onScrub) {
    this.#panels = runs.list.flatMap((run, at) => {
      const view = views[at];
      return view && run.facts.words ? [new RunWords(runs, run, view)] : [];
    });
    for (const panel of this.#panels) panel.followPointer(onScrub);
    const section = element("words", HTMLElement);
    section.hidden = this.#panels.length === 0;
    if (section.hidden) return;
    element("word-runs", HTMLElement).replaceChildren(...this.#panels.map(({ root }) => root));
    const figures = views.flatMap((view) => view.figures);
    const kinds = new Set(figures.flatMap(({ kind }) => (kind === "between" ? [] : [kind])));
    section.querySelector(".choices")?.replaceChildren(this.#choice(kinds));
    this.#layOver("frame");
  }

  /** @param {Set<string>} kinds */
  #choice(kinds) {
    const choices = Object.entries(OVER).flatMap(([value, words]) => {
      if (!(isKind(value) && kinds.has(value))) return [];
      const input = html("input", { type: "radio", name: "word-over", value });
      input.checked = value === "frame";
      input.addEventListener("change", () => this.#layOver(value));
      return [html("label", {}, input, html("span", {}, words))];
    });
    return html("fieldset", { class: "segments" }, html("legend", {}, "Map over"), ...choices);
  }

  /** @param {Kind} kind */
  #layOver(kind) {
    for (const panel of this.#panels) panel.layOver(kind);
  }

  /** Draw the plots again: at another width, or with more steps. */
  update() {
    for (const panel of this.#panels) panel.update();
  }

  /** @param {number} position */
  point(position) {
    for (const panel of this.#panels) panel.point(position);
  }
}
