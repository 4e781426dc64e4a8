// The runs that are shown: how they go in step, what sets them apart, where they stand in words.

const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const several = data.runs.length > 1;
const COLORS = ["color-0", "color-1", "color-2", "color-3", "color-4", "color-5"];

/** Make an HTML element; text is text, whatever it holds. */
function html(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/**
 * Keep a text's own directions from turning the words around it: an isolate (Unicode's annex 9)
 * around it, and its own isolates balanced, so that it can neither close that one nor leave it open.
 */
function apart(text) {
  if (!/[\p{Bidi_Control}\p{Script=Hebrew}\p{Script=Arabic}]/u.test(text)) return text;
  let open = 0;
  const balanced = text.replace(/[\u2066-\u2069]/g, (mark) => {
    if (mark !== "\u2069") open += 1;
    else if (open === 0) return "";
    else open -= 1;
    return mark;
  });
  return `\u2068${balanced}${"\u2069".repeat(open + 1)}`;
}

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 || share > 0.9 ? 1 : 0)} %`;

// Runs of different length are shown by share of their way: the longest sets the positions.
const positions = Math.max(...data.runs.map((facts) => facts.timesteps.length)) + 1;
const frameOf = (run, position) => Math.round((position * run.rows) / (positions - 1));
const shareOf = (run, frame) => ((frame / run.rows) * (positions - 1) + 0.5) / positions;
const longest = data.runs.find((facts) => facts.timesteps.length === positions - 1);
const stagePositions = longest.stages.map((row) => row + 1);

/** Find the config values that are not the same in all runs, but for the folder they went to. */
const differing = data.runs[0].config
  .map(([key]) => key)
  .filter((key) => key !== "output" && new Set(data.runs.map((facts) => new Map(facts.config).get(key))).size > 1);

const WORDS_FOR = {
  prompt: (value) => `“${apart(value)}”`,
  negative_prompt: (value) => `not “${apart(value)}”`,
  seed: (value) => `seed ${value}`,
  guidance_scale: (value) => `guidance ${value}`,
  "scheduler.type": (value) => value.toUpperCase(),
  "scheduler.num_steps": (value) => `${value} steps`,
};

/** Name a run by what sets it apart. */
function nameOf(facts) {
  const told = differing.filter((key) => !/^(device|dtype|compile|capture|decode|difference|measure|export)/.test(key));
  const values = new Map(facts.config);
  return told.map((key) => WORDS_FOR[key]?.(values.get(key)) ?? `${key} ${apart(values.get(key))}`).join(", ") || apart(facts.name);
}

/** Say in words where a run stands. */
function describe(run, frame) {
  const { timesteps, base_frames: bases, alphas_cumprod: alphas } = run.facts;
  if (frame === 0) return `Frame 0 of ${run.rows}: pure noise, before the first step.`;
  const row = frame - 1;
  const again = bases[row] === row ? "" : ` It corrects: it sets out again from frame ${bases[row]}.`;
  return `Frame ${frame} of ${run.rows}, made by step ${row} at timestep ${timesteps[row]}: ` +
    `by power ${percent(alphas[frame])} signal, ${percent(1 - alphas[frame])} noise.${again}`;
}
