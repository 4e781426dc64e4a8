// A run's pictures on the page: their figures, their captions, their size.

const NARROW_PX = 640;

const KINDS = {
  frame: { name: "The picture so far", rows: 0 },
  difference: { name: "What this step changed", rows: 1 },
  z0_hat: { name: "The picture the model believes in", rows: 1 },
};

/** The figures of one run: its pictures, their captions, the mark of the pixel. */
class RunView {
  constructor(run, number) {
    this.run = run;
    this.kinds = Object.keys(KINDS).filter((kind) => kind !== "z0_hat" || run.z0Hats.length);
    this.figures = new Map(this.kinds.map((kind) => [kind, this.makeFigure(kind)]));
    this.pictures = html("div", { class: "pictures" }, ...[...this.figures.values()].map(({ figure }) => figure));
    this.words = html("p", { class: "where" });
    this.root = html("article", { class: "run", "aria-label": nameOf(run.facts) });
    if (several) {
      const swatch = html("span", { class: `swatch ${COLORS[number % COLORS.length]}` });
      this.root.append(html("div", { class: "name" }, html("h2", {}, swatch, nameOf(run.facts)), this.words));
    }
    this.root.append(this.pictures);
  }

  makeFigure(kind) {
    const { width, height } = this.run.facts;
    const canvas = html("canvas", { width, height, role: "img" });
    const mark = html("span", { class: "mark", hidden: "" });
    const plate = html("div", { class: "plate" }, canvas, mark);
    const note = html("span", { class: "note" });
    const caption = html("figcaption", {}, html("strong", {}, KINDS[kind].name), note);
    const figure = { canvas, mark, plate, note, figure: html("figure", { class: kind }, plate, caption) };
    if (kind === "difference") {
      figure.bar = html("canvas", { width: 256, height: 1, class: "bar", "aria-hidden": "true" });
      figure.most = html("span", { class: "note" });
      const ends = [html("span", { class: "note" }, "0"), figure.bar, figure.most];
      caption.append(html("span", { class: "scale" }, html("span", { class: "bar-ends" }, ...ends)));
      const context = figure.bar.getContext("2d");
      this.run.viridis.forEach((color, level) => {
        context.fillStyle = `rgb(${color.join(" ")})`;
        context.fillRect(level, 0, 1, 1);
      });
    }
    return figure;
  }

  /** Enlarge by the largest whole factor that fits, counted in the screen's own pixels. */
  fit(limitPx) {
    const { width } = this.run.facts;
    const ratio = window.devicePixelRatio;
    for (const { plate, figure, canvas } of this.figures.values()) {
      const room = Math.min(figure.clientWidth, limitPx);
      const factor = Math.floor((room * ratio) / width);
      canvas.classList.toggle("enlarged", factor >= 1);
      plate.style.width = `${factor >= 1 ? (factor * width) / ratio : room}px`;
    }
  }

  show(frame, yellow) {
    const row = frame - 1;
    const { run } = this;
    this.words.textContent = describe(run, frame);
    for (const [kind, figure] of this.figures) {
      figure.plate.classList.toggle("empty", frame < KINDS[kind].rows);
      if (frame < KINDS[kind].rows) {
        figure.note.textContent = "not before the first step";
        figure.canvas.setAttribute("aria-label", "Nothing yet");
        if (figure.most) figure.most.textContent = "–";
      } else this.paint(kind, figure, frame, row, yellow);
    }
  }

  paint(kind, figure, frame, row, yellow) {
    if (kind === "difference") {
      const most = yellow(this.run, row);
      this.run.paintDifference(figure.canvas, row, most);
      figure.note.textContent = `frame ${frame} against frame ${row}`;
      figure.most.textContent = `${written(most)} of 255`;
      figure.canvas.setAttribute("aria-label", `Difference of frame ${frame} to frame ${row}, in viridis`);
      return;
    }
    const picture = kind === "frame" ? this.run.frames[frame] : this.run.z0Hats[row];
    figure.canvas.getContext("2d").drawImage(picture, 0, 0);
    figure.note.textContent = kind === "frame" ? `frame ${frame} of ${this.run.rows}` : `z0_hat, predicted by step ${row}`;
    figure.canvas.setAttribute("aria-label", `${KINDS[kind].name}: ${figure.note.textContent}`);
  }

  markPixel({ x, y }) {
    const { width, height } = this.run.facts;
    for (const { mark } of this.figures.values()) {
      mark.hidden = false;
      mark.style.left = `${(100 * (x + 0.5)) / width}%`;
      mark.style.top = `${(100 * (y + 0.5)) / height}%`;
    }
  }
}

/**
 * Lay the pictures out: one run's beside each other, or large over small on a phone; several runs'
 * as a table, a run a row or a run a column, whichever gives the larger pictures.
 */
function arrange(views) {
  const root = element("runs");
  const width = root.clientWidth;
  const height = window.innerHeight;
  const narrow = width < NARROW_PX;
  if (!several) {
    root.className = narrow ? "hero" : "row";
    views[0].fit(narrow ? Infinity : Math.max(384, 0.55 * height));
    return;
  }
  const kinds = Math.max(...views.map((view) => view.kinds.length));
  const asRows = Math.min((narrow ? width : 0.8 * width) / kinds, (0.62 * height) / views.length);
  // of a column's pictures the first two should be in view together
  const asColumns = Math.min(width / views.length, (0.62 * height) / 2);
  root.className = asRows >= asColumns ? "rows" : "columns";
  root.style.setProperty("--runs", views.length);
  root.style.setProperty("--kinds", kinds);
  for (const view of views) view.fit(Math.max(asRows, asColumns, 96));
}
