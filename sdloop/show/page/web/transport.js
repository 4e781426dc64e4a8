// The controls of the steps: play, scrub, jump to a stage, and the keys that do the same.

/** @import { Runs } from "./runs.js" */
import { element, html } from "./dom.js";
import { paintFilm } from "./film.js";
import { markFilm, noteMarks } from "./marks.js";

const FILM_PX = 44;
const FILMS_PX = { least: 56, each: 22 }; // of several runs
const CROWDED = 0.06; // stages closer than this share of the width have no room for a word

/** The transport knows the position and asks for another; the page goes there. */
export class Transport {
  #runs;
  #go;
  #position = 0;
  /** @type {number | undefined} */
  #timer;
  #keys = (/** @type {KeyboardEvent} */ event) => this.#onKey(event);
  #play = element("play", HTMLButtonElement);
  #readout = element("readout", HTMLElement);
  #scrubber = element("scrubber", HTMLInputElement);
  #stages = element("stages", HTMLElement);

  /**
   * @param {Runs} runs
   * @param {(position: number) => void} go
   */
  constructor(runs, go) {
    this.#runs = runs;
    this.#go = go;
    this.#scrubber.max = String(runs.positions - 1);
    this.#scrubber.addEventListener("input", () => this.scrub(this.#scrubber.valueAsNumber));
    this.#play.addEventListener("click", () => this.#toggle());
    element("back", HTMLElement).addEventListener("click", () => this.scrub(this.#position - 1));
    element("on", HTMLElement).addEventListener("click", () => this.scrub(this.#position + 1));
    document.addEventListener("keydown", this.#keys);
    this.#makeStages();
    noteMarks(element("marks-note", HTMLElement), runs);
  }

  #makeStages() {
    const { stages, positions } = this.#runs;
    const gaps = stages.slice(1).map((position, before) => position - (stages[before] ?? 0));
    this.#stages.classList.toggle("crowded", Math.min(...gaps) / positions < CROWDED);
    this.#stages.append(
      ...stages.map((position) => {
        const step = String(position - 1);
        const attributes = { type: "button", value: position, "aria-label": `Go to step ${step}` };
        const button = html("button", attributes, html("span", {}, "step "), step);
        button.style.left = `${100 * this.#runs.shareOf(position)}%`;
        button.addEventListener("click", () => this.scrub(position));
        return button;
      }),
    );
  }

  /** Stop playing, and listen to no more keys. */
  close() {
    this.#pause();
    document.removeEventListener("keydown", this.#keys);
  }

  /** Draw the film again: at another width, or with more steps. */
  update() {
    const { several, filmed, positions } = this.#runs;
    const track = element("track", HTMLElement);
    const film = several ? Math.max(FILMS_PX.least, FILMS_PX.each * filmed.length) : FILM_PX;
    track.style.setProperty("--film", `${film}px`);
    track.style.setProperty("--cell", `${track.clientWidth / positions}px`);
    paintFilm(element("film", HTMLCanvasElement), this.#runs);
    markFilm(element("marks", HTMLElement), this.#runs);
  }

  /**
   * Show where the page stands.
   *
   * @param {number} position
   */
  point(position) {
    this.#position = position;
    const words = this.#runs.describe(position);
    this.#readout.textContent = words;
    this.#scrubber.value = String(position);
    this.#scrubber.setAttribute("aria-valuetext", words);
    for (const button of this.#stages.querySelectorAll("button")) {
      button.toggleAttribute("aria-current", Number(button.value) === position);
    }
  }

  /**
   * Go somewhere by hand: playing stops.
   *
   * @param {number} position
   */
  scrub(position) {
    this.#pause();
    this.#go(position);
  }

  #toggle() {
    if (this.#timer !== undefined) {
      this.#pause();
      return;
    }
    if (this.#position === this.#runs.last) this.#go(0);
    this.#setPlaying(true);
    this.#wait();
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#setPlaying(false);
  }

  /** @param {boolean} playing */
  #setPlaying(playing) {
    this.#play.classList.toggle("playing", playing);
    this.#play.setAttribute("aria-label", playing ? "Pause" : "Play");
    // a screen reader that spoke every frame would never come to an end
    this.#readout.setAttribute("aria-live", playing ? "off" : "polite");
  }

  #wait() {
    const { delay_ms: delay, hold_ms: hold } = this.#runs.first.facts;
    const speed = Number(element("speed", HTMLSelectElement).value);
    const time = this.#position === this.#runs.last ? hold : delay;
    this.#timer = setTimeout(() => this.#advance(), time / speed);
  }

  #advance() {
    const isLast = this.#position === this.#runs.last;
    if (isLast && !element("loop", HTMLInputElement).checked) {
      this.#pause();
      return;
    }
    this.#go(isLast ? 0 : this.#position + 1);
    this.#wait();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { target, key } = event;
    if (event.altKey || event.ctrlKey || event.metaKey || !(target instanceof Element)) return;
    if (target.matches("select, textarea, input[type=number], input[type=text]")) return;
    const isChoosing = target.matches("input[type=radio]");
    const isPressing = target.matches("button, summary, a, input[type=checkbox]") || isChoosing;
    if (key === " " && !isPressing) this.#toggle();
    else if (key === "ArrowLeft" && !isChoosing) this.scrub(this.#position - 1);
    else if (key === "ArrowRight" && !isChoosing) this.scrub(this.#position + 1);
    else if (key === "Home") this.scrub(0);
    else if (key === "End") this.scrub(this.#runs.last);
    else return;
    event.preventDefault();
  }
}
