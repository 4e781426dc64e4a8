// The queue: all runs, how they stand, and what the one under way is doing.

/** @import { DoingData, JobData } from "./server.js" */
import { html, write } from "./dom.js";
import { stopRun } from "./server.js";
import { apart } from "./text.js";

/** @type {Record<JobData["state"], string>} */
const STATES = {
  waiting: "waits",
  running: "is running",
  stopping: "is stopping",
  finished: "finished",
  stopped: "stopped early",
  failed: "failed",
};
/** @type {Record<string, string>} */
const STAGES = {
  import: "importing",
  fetch: "fetching the model",
  load: "loading the model",
  text: "reading the prompt",
  denoise: "taking the steps",
  decode: "decoding every frame",
  difference: "comparing frames",
  measure: "measuring",
  animate: "writing animations",
  export: "writing pictures",
  page: "writing the page",
};

const GAP_MS = 100; // at least, between moves of the bar

/** The list of runs; the newest come first, but those that wait in their order. */
export class Queue {
  #onOpen;
  #list = html("ol", {});
  #count = html("span", { class: "note" });
  #doing = html("p", { id: "doing", role: "status" });
  #bar = html("progress", { "aria-label": "How far the stage is" });
  /** @type {JobData[]} */
  #jobs = [];
  #shown = "";
  /** @type {string | undefined} */
  #stage;
  #moved = 0;

  /** @param {(job: JobData) => void} onOpen */
  constructor(onOpen) {
    this.#onOpen = onOpen;
    const head = html("div", { class: "head" }, html("h2", {}, "Runs"), this.#count);
    const region = { class: "jobs", tabindex: 0, role: "region", "aria-label": "List of runs" };
    const list = html("div", region, this.#list);
    this.#bar.hidden = true;
    this.root = html("section", { id: "queue", "aria-label": "Queue" }, head, this.#doing);
    this.root.append(this.#bar, list);
  }

  /**
   * Find a run.
   *
   * @param {string} name
   */
  find(name) {
    return this.#jobs.find((job) => job.name === name);
  }

  /** The latest run that ended and can be shown. */
  get latest() {
    return this.#jobs.filter(({ state }) => state === "finished" || state === "stopped").at(-1);
  }

  /** The run under way. */
  get current() {
    return this.#jobs.find((job) => job.state === "running" || job.state === "stopping");
  }

  /**
   * Count a step that came; the server tells of stages, and of steps one by one.
   *
   * @param {number} made
   */
  step(made) {
    if (this.#stage === "denoise") this.#bar.value = made;
  }

  /** @param {JobData[]} jobs */
  update(jobs) {
    this.#jobs = jobs;
    const waiting = jobs.filter((job) => job.state === "waiting");
    const others = jobs.filter((job) => job.state !== "waiting").reverse();
    write(this.#count, waiting.length > 0 ? `${waiting.length} waiting` : "");
    this.#list.replaceChildren(...[...waiting, ...others].map((job) => this.#item(job)));
  }

  /** @param {DoingData | null} doing */
  tell(doing) {
    const words = doing ? (STAGES[doing.stage] ?? doing.stage) : "";
    const isCounted = doing !== null && doing.total !== null;
    // a screen reader is told of stages, not of every step
    const isNew = this.#stage !== doing?.stage;
    this.#stage = doing?.stage;
    write(this.#doing, words);
    this.#bar.hidden = doing === null;
    // each drawing takes time from a run on the same machine; steps move the bar with their pictures
    const now = performance.now();
    const isDue = this.#stage !== "denoise" && now - this.#moved >= GAP_MS;
    if (!(isNew || isDue) && doing?.made !== doing?.total) return;
    this.#moved = now;
    if (isCounted) {
      this.#bar.max = doing.total ?? 1;
      this.#bar.value = doing.made;
    } else this.#bar.removeAttribute("value");
  }

  /**
   * Mark the run that is shown.
   *
   * @param {string} name
   */
  mark(name) {
    this.#shown = name;
    for (const item of this.#list.children) {
      item.toggleAttribute("aria-current", item.getAttribute("data-name") === name);
    }
  }

  /** @param {JobData} job */
  #item(job) {
    const { name, state, prompt, seed, origin, frame, message, warnings } = job;
    const fork = origin === null ? "" : `, from frame ${frame} of ${origin}`;
    const words = `${apart(prompt) || "no prompt"} · seed ${seed}${fork}`;
    const open = html("button", { type: "button", class: "open" }, words);
    open.disabled = state === "waiting" || state === "failed";
    open.addEventListener("click", () => this.#onOpen(job));
    const how = html("span", { class: `state ${state}` }, STATES[state]);
    const item = html("li", { "data-name": name }, open, how);
    if (state === "waiting" || state === "running") {
      const press = state === "waiting" ? "Take out" : "Stop";
      const stop = html("button", { type: "button", class: "small" }, press);
      stop.setAttribute("aria-label", `${press}: ${prompt}, seed ${seed}`);
      stop.addEventListener("click", () => stopRun(name));
      item.append(stop);
    }
    for (const each of message ? [message, ...warnings] : warnings) {
      item.append(html("p", { class: state === "failed" ? "wrong" : "note" }, each));
    }
    item.toggleAttribute("aria-current", name === this.#shown);
    return item;
  }
}
