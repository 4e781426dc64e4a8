// The server of `watch`: what is asked of it, and what it tells.

/** @import { PageData, RunFacts, StepData } from "./data.js" */

/**
 * A run, as it stands. sdloop/serve/stream.py writes it.
 *
 * @typedef {object} JobData
 * @property {string} name  Of its folder.
 * @property {"waiting" | "running" | "stopping" | "finished" | "stopped" | "failed"} state
 * @property {string} message  Why it failed.
 * @property {string[]} warnings
 * @property {string} prompt
 * @property {number} seed
 * @property {string | null} origin  The run that it starts from.
 * @property {number | null} frame  The frame that it starts from.
 * @property {string} command  Makes the same run in a terminal.
 */

/**
 * What the run under way is doing.
 *
 * @typedef {object} DoingData
 * @property {string} name
 * @property {string} stage
 * @property {number} made
 * @property {number | null} total
 */

/**
 * A run's walk begins.
 *
 * @typedef {object} BeginData
 * @property {string} name
 * @property {RunFacts} facts
 * @property {string} start  The picture of the first row's frame.
 * @property {number} first  The first row.
 */

/**
 * @typedef {object} NextStepData
 * @property {string} name
 * @property {number} row
 * @property {StepData} step
 */

/**
 * @typedef {object} Listener
 * @property {(jobs: JobData[]) => void} jobs
 * @property {(doing: DoingData | null) => void} doing
 * @property {(begin: BeginData) => void} begin
 * @property {(step: NextStepData) => void} step
 * @property {(isConnected: boolean) => void} connected
 */

const AGAIN_MS = 3000;

/**
 * Listen to the server. The browser connects again by itself, unless it was refused; then this
 * does. Each time all is told again.
 *
 * @param {Listener} listener
 */
export function listen(listener) {
  const source = new EventSource("events");
  source.addEventListener("open", () => listener.connected(true));
  source.addEventListener("error", () => {
    listener.connected(false);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(listener), AGAIN_MS);
  });
  source.addEventListener("jobs", (event) => listener.jobs(JSON.parse(event.data)));
  source.addEventListener("doing", (event) => listener.doing(JSON.parse(event.data)));
  source.addEventListener("begin", (event) => listener.begin(JSON.parse(event.data)));
  source.addEventListener("step", (event) => listener.step(JSON.parse(event.data)));
}

/**
 * @typedef {object} Answer
 * @property {string} [name]  Of the run that was taken on.
 * @property {string} [key]  The field that was refused, "" for none of them.
 * @property {string} [message]  Why.
 */

/**
 * Ask the server to do something.
 *
 * @param {string} path
 * @param {object} body
 * @returns {Promise<Answer>}
 */
export async function ask(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    if (isJson) return await response.json();
    return { key: "", message: (await response.text()).trim() };
  } catch {
    return { key: "", message: "The server does not answer; is it still running?" };
  }
}

/**
 * Stop a run, or take it out of the queue.
 *
 * @param {string} name
 */
export function stopRun(name) {
  return ask(`runs/${encodeURIComponent(name)}/stop`, {});
}

/**
 * Read the page of a run that has ended.
 *
 * @param {string} name
 * @returns {Promise<Pick<PageData, "runs" | "charts" | "comparison"> | null>}  Null if it has none;
 *   else the run is the last, behind the one that it left where the page shows that too.
 */
export async function fetchPage(name) {
  const folder = `runs/${encodeURIComponent(name)}/`;
  const response = await fetch(`${folder}index.html`);
  if (!response.ok) return null;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  /** @type {PageData} */
  const { runs, charts, comparison } = JSON.parse(page.getElementById("data")?.textContent ?? "");
  const linked = runs.map((run) => {
    const files = run.files.map((file) => ({ ...file, href: folder + file.href }));
    return { ...run, files };
  });
  return { runs: linked, charts, comparison };
}
