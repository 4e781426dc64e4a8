// Where the live page starts: a form, the queue, and the page of the run that is shown.

/** @import { FieldData } from "./form.js" */
/** @import { BeginData, JobData, NextStepData } from "./server.js" */
/** @import { ShownData } from "./showing.js" */
import { element, html, write } from "./dom.js";
import { Form } from "./form.js";
import { Queue } from "./queue.js";
import { ask, listen, stopRun } from "./server.js";
import { Showing } from "./showing.js";
import { wireTheme } from "./theme.js";

/** The tab: what it asked for, what it shows. */
class Watch {
  #form;
  #queue;
  #showing;
  #run = html("button", { type: "submit", id: "run", class: "press main" }, "Run");
  #stop = html("button", { type: "button", id: "stop", class: "press" }, "Stop");
  #fork = html("button", { type: "button", id: "fork", class: "press" }, "Fork");
  #command = html("code", { id: "command" });
  #commandLine = html("div", { id: "command-line" });
  #connection = html("p", { class: "wrong", role: "alert" });
  /** @type {Set<string>} Runs that this tab asked for and did not see begin. */
  #asked = new Set();
  /** @type {{ begin: BeginData, steps: NextStepData[] } | null} The walk under way. */
  #walk = null;
  #isFresh = true;
  #filling = "";

  /** @param {ShownData & { fields: FieldData[] }} data */
  constructor(data) {
    this.#form = new Form(data.fields, () => this.#ask(null), this.#run);
    this.#queue = new Queue((job) => this.#open(job));
    this.#showing = new Showing(data, () => this.#settle());
    this.#stop.addEventListener("click", () => stopRun(this.#queue.current?.name ?? ""));
    this.#fork.addEventListener("click", () => {
      const { place } = this.#showing;
      if (place) this.#ask({ run: this.#showing.name, frame: place.frame });
    });
    const copy = html("button", { type: "button", class: "small" }, "Copy");
    copy.addEventListener("click", () =>
      navigator.clipboard.writeText(this.#command.textContent ?? ""),
    );
    const label = html("span", { class: "note" }, "The same in a terminal:");
    this.#commandLine.append(label, this.#command, copy);
    const desk = html("div", { id: "desk" }, this.#form.root, this.#queue.root);
    element("main", HTMLElement).before(this.#connection, desk, this.#commandLine);
    this.#settle();
  }

  /** Hear from the server for as long as the tab is open. */
  listen() {
    listen({
      connected: (isConnected) => {
        const words = isConnected ? "" : "The server does not answer. Runs go on when it is back.";
        write(this.#connection, words);
      },
      jobs: (jobs) => this.#update(jobs),
      doing: (doing) => this.#queue.tell(doing),
      begin: (begin) => {
        this.#walk = { begin, steps: [] };
        const { name } = begin;
        if (this.#asked.delete(name) || this.#isFresh || this.#showing.name === name) this.#begin();
      },
      step: (next) => {
        this.#walk?.steps.push(next);
        // whatever moves on the page takes time from a run on the same machine
        if (next.step.frame !== null) this.#queue.step(next.row + 1);
        if (this.#showing.isLive) this.#showing.step(next);
      },
    });
  }

  /** @param {JobData[]} jobs */
  #update(jobs) {
    this.#queue.update(jobs);
    const shown = this.#queue.find(this.#showing.name);
    const hasEnded = shown?.state === "finished" || shown?.state === "stopped";
    if (shown && hasEnded && this.#showing.isLive) this.#showing.end(shown.name, shown.origin);
    for (const name of this.#asked) {
      const job = this.#queue.find(name);
      if (job?.state === "finished" || job?.state === "stopped") this.#open(job);
    }
    const { latest, current } = this.#queue;
    if (this.#isFresh && !this.#showing.name && !current && latest) this.#open(latest);
    this.#settle();
  }

  /** Show the walk under way, with the steps that have come. */
  #begin() {
    if (!this.#walk) return;
    const { begin, steps } = this.#walk;
    this.#isFresh = false;
    this.#showing.begin(begin, this.#queue.find(begin.name)?.origin ?? null);
    for (const step of steps) this.#showing.step(step);
    this.#settle();
  }

  /**
   * Ask for a run, from noise or from a frame of another one.
   *
   * @param {{ run: string, frame: number } | null} start
   */
  async #ask(start) {
    const { key, message, name } = await ask("runs", { values: this.#form.values, start });
    this.#form.complain(key ?? "", message ?? "");
    if (name === undefined) return;
    const isUnderWay = this.#walk?.begin.name === name && name === this.#queue.current?.name;
    if (isUnderWay) this.#begin();
    else if (this.#queue.find(name)?.state !== "finished") this.#asked.add(name);
    else if (this.#showing.name !== name)
      this.#showing.end(name, this.#queue.find(name)?.origin ?? null);
  }

  /**
   * Show a run, and put its values into the form.
   *
   * @param {JobData} job
   */
  #open({ name, state, origin }) {
    this.#asked.delete(name);
    if (state === "finished" || state === "stopped") {
      this.#filling = name;
      this.#showing.end(name, origin);
    } else if (this.#walk?.begin.name === name) this.#begin();
    else this.#asked.add(name);
    this.#settle();
  }

  /** Put the buttons of the run that is shown beside those that play it. */
  #place() {
    const choices = document.querySelector("#transport .choices");
    if (choices !== null && this.#fork.parentElement !== choices) {
      choices.prepend(this.#stop, this.#fork);
    }
  }

  /** Bring buttons and words in line with what is shown. */
  #settle() {
    const { place, name, isLive } = this.#showing;
    const job = this.#queue.find(name);
    this.#place();
    this.#stop.disabled = this.#queue.current?.state !== "running";
    const isShown = place?.run.facts.name === name;
    this.#fork.disabled = !isShown || isLive || place.frame >= place.rows;
    write(this.#fork, isShown ? `Fork at frame ${place.frame}` : "Fork");
    this.#fork.title = isLive
      ? "Stop the run first, or wait for its end"
      : "Start again from the frame that is shown, with the prompt and guidance above";
    if (isShown && this.#filling === name) {
      this.#form.fill(place.run.config);
      this.#filling = "";
    }
    write(this.#command, job?.command ?? "");
    this.#commandLine.hidden = !job;
    this.#queue.mark(name);
  }
}

wireTheme();
element("title", HTMLElement).textContent = "Watch";
new Watch(JSON.parse(document.getElementById("data")?.textContent ?? "")).listen();
