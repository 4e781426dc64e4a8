// The page: what is shown at a position, and how one gets there.

class Page {
  constructor(runs) {
    this.runs = runs;
    this.views = runs.map((run, number) => new RunView(run, number));
    element("runs").append(...this.views.map((view) => view.root));
    this.chart = new Chart(element("plot"));
    this.plots = runs.map((run, number) => this.makePixelPlot(run, number));
    this.scale = several ? "global" : data.runs[0].scale;
    this.shownChart = data.charts[0];
    this.held = false;
    this.timer = null;
    const { width, height } = runs[0].facts;
    this.pixel = { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    const asked = Number.parseInt(location.hash.slice(1), 10);
    const middle = stagePositions[Math.floor(stagePositions.length / 2)];
    this.position = Number.isNaN(asked) ? middle : Math.max(0, Math.min(asked, positions - 1));
    this.yellow = (run, row) => (this.scale === "image" ? run.facts.peaks[row] : this.peak);
    this.peak = Math.max(...runs.map((run) => run.peak));
    this.wire();
    this.layOut();
  }

  makePixelPlot(run, number) {
    const holder = html("div", { class: "pixel-run" });
    if (several) holder.append(html("span", { class: `swatch ${COLORS[number % COLORS.length]}` }));
    element("pixel-runs").append(holder);
    return new PixelPlot(holder, run, shareOf);
  }

  // -- what is shown

  layOut() {
    arrange(this.views);
    element("track").style.setProperty("--film", `${several ? Math.max(56, 22 * this.runs.length) : 44}px`);
    element("track").style.setProperty("--cell", `${element("track").clientWidth / positions}px`);
    paintFilm(element("film"), this.runs, positions, frameOf);
    this.showChart();
    this.showPixel(this.pixel);
    this.go(this.position);
  }

  go(position) {
    this.position = Math.max(0, Math.min(position, positions - 1));
    const frames = this.runs.map((run) => frameOf(run, this.position));
    this.views.forEach((view, number) => view.show(frames[number], this.yellow));
    this.plots.forEach((plot, number) => plot.point(frames[number]));
    const words = several
      ? `Position ${this.position} of ${positions - 1}, ${percent(this.position / (positions - 1))} of the way.`
      : describe(this.runs[0], frames[0]);
    element("readout").textContent = words;
    element("scrubber").value = this.position;
    element("scrubber").setAttribute("aria-valuetext", words);
    this.chart.point((this.position + 0.5) / positions, this.pointsAt(this.position));
    this.showLegend();
    for (const button of element("stages").children) {
      button.toggleAttribute("aria-current", Number(button.value) === this.position);
    }
  }

  showChart() {
    const { lines, label, note } = this.shownChart;
    this.series = this.runs.flatMap((run, number) =>
      Object.entries(lines).map(([name, words], line) => ({
        run,
        name: [several ? nameOf(run.facts) : "", words].filter(Boolean).join(", "),
        color: COLORS[(several ? number : line) % COLORS.length],
        dashed: several && line > 0,
        points: run.facts.numbers[name].map((value, row) => [shareOf(run, row + 1), value]),
      })));
    element("chart-note").textContent = note;
    this.chart.show(this.series, `${label} over the steps`, stagePositions.map((at) => (at + 0.5) / positions));
    this.chart.point((this.position + 0.5) / positions, this.pointsAt(this.position));
    this.showLegend();
  }

  /** Return each line's point at a position: the row, -1 before the first. */
  pointsAt(position) {
    return this.series.map(({ run }) => frameOf(run, position) - 1);
  }

  valueAt(line, row) {
    const unit = this.shownChart.unit ? ` ${this.shownChart.unit}` : "";
    const point = line.points[row];
    return point && point[1] !== null ? written(point[1]) + unit : "no value";
  }

  showLegend() {
    const rows = this.pointsAt(this.position);
    element("chart-legend").replaceChildren(...this.series.map((line, at) =>
      html("span", { class: "entry" },
        html("span", { class: `swatch ${line.color}` }),
        line.name ? `${line.name}: ` : "", html("b", {}, this.valueAt(line, rows[at])))));
  }

  showPixel({ x, y }) {
    this.pixel = { x, y };
    element("pixel-x").value = x;
    element("pixel-y").value = y;
    this.views.forEach((view) => view.markPixel(this.pixel));
    this.plots.forEach((plot, number) => {
      const { width, height } = plot.run.facts;
      plot.show(Math.min(x, width - 1), Math.min(y, height - 1));
      plot.point(frameOf(this.runs[number], this.position));
    });
  }

  // -- playing

  get playing() {
    return this.timer !== null;
  }

  play() {
    if (this.position === positions - 1) this.go(0);
    this.setPlaying(true);
    this.wait();
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = null;
    this.setPlaying(false);
  }

  setPlaying(playing) {
    element("play").classList.toggle("playing", playing);
    element("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    // a reader that spoke every frame would never come to an end
    element("readout").setAttribute("aria-live", playing ? "off" : "polite");
  }

  wait() {
    const { delay_ms: delay, hold_ms: hold } = data.runs[0];
    const last = this.position === positions - 1;
    this.timer = setTimeout(() => this.advance(), (last ? hold : delay) / Number(element("speed").value));
  }

  advance() {
    const last = this.position === positions - 1;
    if (last && !element("loop").checked) {
      this.pause();
      return;
    }
    this.go(last ? 0 : this.position + 1);
    this.wait();
  }

  /** Go somewhere by hand: playing stops. */
  scrub(position) {
    this.pause();
    this.go(position);
  }

  // -- hands

  wire() {
    const scrubber = element("scrubber");
    scrubber.max = positions - 1;
    scrubber.addEventListener("input", () => this.scrub(scrubber.valueAsNumber));
    element("play").addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    element("back").addEventListener("click", () => this.scrub(this.position - 1));
    element("on").addEventListener("click", () => this.scrub(this.position + 1));
    document.addEventListener("keydown", (event) => this.onKey(event));
    this.wireScale();
    this.wireStages();
    this.wireChart();
    this.wirePixel();
    let width = window.innerWidth;
    new ResizeObserver(() => {
      // a phone's address bar changes the height while one scrolls; only the width counts
      if (width === window.innerWidth) return;
      width = window.innerWidth;
      this.layOut();
    }).observe(document.body);
  }

  /** Let the reader choose what is yellow: beside the one colour bar, or for all runs at once. */
  wireScale() {
    const choices = { image: "this step", global: several ? "all runs" : "whole run" };
    const labels = Object.entries(choices).map(([value, words]) => {
      const input = html("input", { type: "radio", name: "scale", value });
      input.checked = value === this.scale;
      input.addEventListener("change", () => {
        this.scale = value;
        this.go(this.position);
      });
      return html("label", {}, input, html("span", {}, words));
    });
    const legend = html("legend", { class: several ? "" : "unseen" }, "Scale of");
    const title = "What is yellow: the biggest change of the step, or of all that is shown";
    const home = document.querySelector(several ? "#transport .choices" : ".scale");
    home.append(html("fieldset", { id: "scale", class: "segments", title }, legend, ...labels));
  }

  wireStages() {
    const closest = Math.min(...stagePositions.slice(1).map((at, number) => at - stagePositions[number]));
    element("stages").classList.toggle("crowded", closest / positions < 0.06);
    element("stages").append(...stagePositions.map((at) => {
      const button = html("button", { type: "button", value: at, "aria-label": `Go to step ${at - 1}` },
        html("span", {}, "step "), String(at - 1));
      button.style.left = `${(100 * (at + 0.5)) / positions}%`;
      button.addEventListener("click", () => this.scrub(at));
      return button;
    }));
  }

  wireChart() {
    const choice = element("chart-choice");
    choice.append(...data.charts.map(({ label }) => html("option", {}, label)));
    choice.addEventListener("change", () => {
      this.shownChart = data.charts[choice.selectedIndex];
      this.showChart();
    });
    const plot = element("plot");
    const positionAt = (event) => {
      const { left, width } = plot.getBoundingClientRect();
      return Math.max(0, Math.min(positions - 1, Math.floor(((event.clientX - left) / width) * positions)));
    };
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      this.scrub(positionAt(event));
    });
    plot.addEventListener("pointermove", (event) => {
      const position = positionAt(event);
      if (event.buttons && position !== this.position) this.scrub(position);
      this.hoverChart(position);
    });
    plot.addEventListener("pointerleave", () => this.chart.hover([], null));
  }

  hoverChart(position) {
    const rows = this.pointsAt(position);
    const values = this.series.map((line, at) => `${line.name ? `${line.name}: ` : ""}${this.valueAt(line, rows[at])}`);
    const where = several ? `position ${position}` : `step ${position - 1}`;
    this.chart.hover(rows, position ? [where, ...values].join("\n") : null);
  }

  wirePixel() {
    for (const view of this.views) {
      for (const { plate } of view.figures.values()) {
        const at = (event) => {
          const { left, top, width, height } = plate.getBoundingClientRect();
          const inside = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
          return {
            x: inside((event.clientX - left) / width, view.run.facts.width),
            y: inside((event.clientY - top) / height, view.run.facts.height),
          };
        };
        plate.addEventListener("pointermove", (event) => {
          if (!this.held && event.pointerType !== "touch") this.showPixel(at(event));
        });
        plate.addEventListener("click", (event) => {
          this.hold(event.pointerType === "touch" || !this.held);
          this.showPixel(at(event));
        });
      }
    }
    const inputs = [element("pixel-x"), element("pixel-y")];
    const { width, height } = this.runs[0].facts;
    inputs[0].max = width - 1;
    inputs[1].max = height - 1;
    for (const input of inputs) {
      input.addEventListener("change", () => {
        const [x, y] = inputs.map((one) => Math.max(0, Math.min(one.max, Math.round(one.valueAsNumber) || 0)));
        this.hold(true);
        this.showPixel({ x, y });
      });
    }
  }

  hold(held) {
    this.held = held;
    element("runs").classList.toggle("held", held);
  }

  onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { target } = event;
    const typing = target.matches("select, input[type=number]");
    const choosing = target.matches("input[type=radio]");
    const pressing = target.matches("button, summary, a, input[type=checkbox], input[type=radio]");
    if (typing) return;
    if (event.key === " ") {
      if (pressing) return;
      if (this.playing) this.pause();
      else this.play();
    } else if (event.key === "ArrowLeft" && !choosing) this.scrub(this.position - 1);
    else if (event.key === "ArrowRight" && !choosing) this.scrub(this.position + 1);
    else if (event.key === "Home") this.scrub(0);
    else if (event.key === "End") this.scrub(positions - 1);
    else return;
    event.preventDefault();
  }
}

document.body.classList.toggle("several", several);
wireTheme();
writeHeader();
writeConfig();
writeFiles();
writeStills();
const runs = await Promise.all(data.runs.map((facts) => Run.load(facts, data.viridis)));
new Page(runs);
element("main").removeAttribute("aria-busy");
