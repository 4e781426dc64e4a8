// The page: where it stands, and what follows from that.

/** @import { ComparisonView } from "./comparison.js" */
/** @import { ChartData } from "./data.js" */
/** @import { Pixel, Run } from "./run.js" */
/** @import { Runs } from "./runs.js" */
import { WordsPanel } from "./attention.js";
import { Charts } from "./charts.js";
import { element } from "./dom.js";
import { RunView } from "./figures.js";
import { arrange } from "./layout.js";
import { PixelPanel } from "./pixel.js";
import { Scale } from "./scale.js";
import { Transport } from "./transport.js";

const REDRAW_MS = 250;

/** All that moves with the steps; `update` shows it for the first time. */
export class Page {
  #runs;
  /** @type {(RunView | ComparisonView)[]} */
  #views;
  #transport;
  #charts;
  #pixelPanel;
  #words;
  /** @type {Pixel} */
  #pixel;
  #position;
  #isHeld = false;
  #followed = 0;
  /** @type {number | undefined} */
  #redraw;
  #onMove;
  /** @type {ResizeObserver | undefined} */
  #observer;

  /**
   * @param {Runs} runs  Each with frame 0 at least.
   * @param {ChartData[]} charts
   * @param {object} [options]
   * @param {number | null} [options.begin]  The first position; null lets the address say it.
   * @param {(() => void) | undefined} [options.onMove]  Called when another frame is shown.
   * @param {ComparisonView | null} [options.comparison]  Of the two runs.
   */
  constructor(runs, charts, { begin = null, onMove, comparison = null } = {}) {
    this.#runs = runs;
    this.#onMove = onMove;
    const scale = new Scale(runs);
    const views = runs.list.map((run) => new RunView(runs, run, scale));
    this.#views = comparison ? [...views, comparison] : views;
    element("runs", HTMLElement).append(...this.#views.map((view) => view.root));
    scale.wire(() => this.#go(this.#position));
    this.#transport = new Transport(runs, (position) => this.#go(position));
    this.#charts = new Charts(runs, charts, (position) => this.#transport.scrub(position));
    this.#pixelPanel = new PixelPanel(runs, (pixel) => {
      this.#hold(true);
      this.#showPixel(pixel);
    });
    this.#words = new WordsPanel(runs, views, (position) => this.#transport.scrub(position));
    const { width, height } = runs.first.facts;
    this.#pixel = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    this.#position = begin ?? this.#firstPosition();
    this.#followPointer();
    this.#followWidth();
  }

  /** Begin where the address says (index.html#30), else at the middle stage. */
  #firstPosition() {
    const asked = Number.parseInt(location.hash.slice(1), 10);
    const { stages } = this.#runs;
    return Number.isNaN(asked) ? (stages[Math.floor(stages.length / 2)] ?? 0) : asked;
  }

  get runs() {
    return this.#runs;
  }

  get position() {
    return this.#position;
  }

  /**
   * Show a step that has come: go on with it from the frame before, or stay where the reader went.
   *
   * @param {Run} run  Under way.
   */
  follow(run) {
    const newest = this.#runs.positionOf(run, run.steps.length);
    const isFollowing = this.#position >= this.#followed;
    this.#followed = newest;
    if (isFollowing) this.#position = newest;
    this.#go(this.#position);
    // the pictures at once; what shows all steps together takes longer to draw
    this.#redraw ??= setTimeout(() => {
      this.#redraw = undefined;
      this.update();
    }, REDRAW_MS);
  }

  /** Let go of what outlives the page's elements. */
  close() {
    clearTimeout(this.#redraw);
    this.#transport.close();
    this.#observer?.disconnect();
  }

  /** Draw everything again: at another width, or with the steps that have come since. */
  update() {
    arrange(this.#runs, this.#views);
    this.#transport.update();
    this.#charts.update();
    this.#words.update();
    this.#showPixel(this.#pixel);
    this.#go(this.#position);
  }

  /** @param {number} position */
  #go(position) {
    this.#position = Math.max(0, Math.min(position, this.#runs.last));
    for (const view of this.#views) view.show(this.#runs.frameOf(view.run, this.#position));
    this.#transport.point(this.#position);
    this.#charts.point(this.#position);
    this.#words.point(this.#position);
    this.#pixelPanel.point(this.#position);
    this.#onMove?.();
  }

  /** @param {Pixel} pixel */
  #showPixel(pixel) {
    this.#pixel = pixel;
    for (const view of this.#views) view.markPixel(pixel);
    this.#pixelPanel.show(pixel);
    this.#pixelPanel.point(this.#position);
  }

  /** @param {boolean} isHeld */
  #hold(isHeld) {
    this.#isHeld = isHeld;
    element("runs", HTMLElement).classList.toggle("held", isHeld);
  }

  /** Show the pixel that is pointed at, and hold the one that is clicked. */
  #followPointer() {
    for (const figure of this.#views.flatMap((view) => view.figures)) {
      figure.plate.addEventListener("pointermove", (event) => {
        if (!this.#isHeld && event.pointerType !== "touch") this.#showPixel(figure.pixelAt(event));
      });
      figure.plate.addEventListener("click", (event) => {
        const isTouch = event instanceof PointerEvent && event.pointerType === "touch";
        this.#hold(isTouch || !this.#isHeld);
        this.#showPixel(figure.pixelAt(event));
      });
    }
  }

  #followWidth() {
    let width = window.innerWidth;
    this.#observer = new ResizeObserver(() => {
      // a phone's address bar changes the height while one scrolls; only the width counts
      if (width === window.innerWidth) return;
      width = window.innerWidth;
      this.update();
    });
    this.#observer.observe(document.body);
  }
}
