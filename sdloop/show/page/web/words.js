// The words around the pictures, and dark or light.

function writeHeader() {
  const prompts = new Set(data.runs.map((facts) => facts.prompt));
  const [first] = data.runs;
  const title = element("title");
  if (prompts.size === 1) title.textContent = first.prompt ? WORDS_FOR.prompt(first.prompt) : "No prompt";
  else title.textContent = `${data.runs.length} runs in step`;
  title.classList.toggle("long", title.textContent.length > 90);
  const values = new Map(first.config);
  const same = (key) => !differing.includes(key);
  const words = [
    same("model") && `model ${apart(values.get("model").split("/").pop())}`,
    same("scheduler.type") && values.get("scheduler.type").toUpperCase(),
    ...["scheduler.num_steps", "guidance_scale", "seed"].map((key) => same(key) && WORDS_FOR[key](values.get(key))),
    `${first.width} × ${first.height} px`,
    several && "shown by share of their way, the longest run sets the pace",
  ];
  element("facts").append(...words.filter(Boolean).map((text) => html("span", {}, text)));
}

/** List one run's values, or several runs' side by side with those marked that differ. */
function writeConfig() {
  if (!several) {
    const pairs = data.runs[0].config.map(([key, value]) => html("div", {}, html("dt", {}, key), html("dd", {}, value)));
    element("values").append(html("dl", {}, ...pairs));
    return;
  }
  const values = data.runs.map((facts) => new Map(facts.config));
  const keys = [...new Set(values.flatMap((value) => [...value.keys()]))];
  const head = ["key", ...data.runs.map((facts) => facts.name)].map((name) => html("th", { scope: "col" }, name));
  const rows = keys.map((key) => {
    const name = html("th", { scope: "row" }, key);
    if (differing.includes(key)) name.append(html("span", { class: "unseen" }, " (differs)"));
    const cells = values.map((value) => html("td", {}, value.get(key) ?? "–"));
    return html("tr", { class: differing.includes(key) ? "differs" : "" }, name, ...cells);
  });
  const table = html("table", {}, html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows));
  const region = { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "config-title" };
  element("values").append(html("div", region, table));
}

function writeFiles() {
  // inside a notebook the way from the page to its files is not known
  const reachable = location.href !== "about:srcdoc" && data.runs.some((facts) => facts.files.length);
  element("files-title").hidden = !reachable;
  if (reachable) {
    element("file-lists").append(...data.runs.map((facts) => html("ul", {},
      ...(several ? [html("li", { class: "note" }, facts.name)] : []),
      ...facts.files.map(({ name, href }) => html("li", {}, html("a", { href, download: "" }, name))))));
  }
  const qualities = data.runs.map((facts) => facts.quality);
  const exact = qualities.every((quality) => quality === null);
  const lowest = Math.min(...qualities.filter((quality) => quality !== null));
  element("exactness").textContent = exact
    ? "The pictures on this page are exact to the pixel, so the colours and differences are those of the run."
    : `The pictures on this page are compressed to fit (WebP, quality ${lowest}); the exact data are in trajectory.safetensors.`;
}

function writeStills() {
  const figures = data.runs.flatMap((facts) => facts.stills.map(({ title, caption, src }, at) =>
    html("figure", { class: at === 0 ? "first" : "" },
      html("img", { src, alt: `${title}: ${caption}` }),
      html("figcaption", {}, html("strong", {}, title),
        html("span", { class: "note" }, several ? `${nameOf(facts)}. ${caption}` : caption)))));
  element("stills").hidden = figures.length === 0;
  element("stills").append(...figures);
}

/** Remember dark or light where the browser lets a page remember. */
function wireTheme() {
  const root = document.documentElement;
  const kept = (action) => {
    try {
      return action(localStorage);
    } catch {
      return null;  // pages in a sandbox have no memory
    }
  };
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => element("theme").setAttribute("aria-label", dark() ? "Light page" : "Dark page");
  const theme = kept((memory) => memory.getItem("sdloop-theme"));
  if (theme) root.dataset.theme = theme;
  label();
  element("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    kept((memory) => memory.setItem("sdloop-theme", root.dataset.theme));
    label();
  });
}
