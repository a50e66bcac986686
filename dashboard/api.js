// Asking the server: with the token, if one is needed, and following its stream of changes.

const TOKEN = "segue-token";
let asking = null;

export class Problem extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title);
    this.title = problem.title;
    this.status = problem.status;
    this.type = problem.type;
  }
}

const token = () => sessionStorage.getItem(TOKEN);

function headers(more) {
  const all = { ...more };
  if (token()) all.authorization = `Bearer ${token()}`;
  return all;
}

async function problemOf(response) {
  try {
    return new Problem(await response.json());
  } catch {
    return new Problem({ title: `The server answered ${response.status}`, status: response.status });
  }
}

/** One dialog, however many requests wait for it. */
function askForToken() {
  asking ??= new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.className = "ask";
    dialog.setAttribute("aria-labelledby", "ask-title");
    dialog.innerHTML = `<form method="dialog"><h2 id="ask-title">Token</h2>
      <p>This server asks for its token (<code>http.token</code>). It is kept until this tab is closed.</p>
      <label for="ask-token">Token</label><input id="ask-token" type="password" autocomplete="current-password" required>
      <button class="primary">Go on</button></form>`;
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, dialog.querySelector("input").value);
      dialog.remove();
      asking = null;
      resolve();
    });
    // Without a token there is nothing to go back to.
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

async function ask(path, options = {}) {
  for (;;) {
    const sent = token();
    const response = await fetch(path, { ...options, headers: headers(options.headers) });
    if (response.status !== 401) return response;
    // Another request may have got a token meanwhile.
    if (sent === token()) await askForToken();
  }
}

async function json(path, options) {
  const response = await ask(path, options);
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

const name = encodeURIComponent;

export const status = () => json("/v1/status");
export const segments = () => json("/v1/segments");
export const history = (segment) => json(`/v1/segments/${name(segment)}/history`);
export const members = (segment, after, limit) =>
  json(`/v1/segments/${name(segment)}/members?limit=${limit}${after ? `&after=${name(after)}` : ""}`);
export const customer = (id) => json(`/v1/customers/${name(id)}`);
export const explain = (id, segment) =>
  json(`/v1/customers/${name(id)}/explain${segment ? `?segment=${name(segment)}` : ""}`);
export const past = (id, limit) => json(`/v1/customers/${name(id)}/changes?limit=${limit}`);
export const recent = (filter) => json(`/v1/changes/recent?${new URLSearchParams(filter)}`);
export const definitions = () => json("/v1/definitions");

const post = (path, body, signal) =>
  json(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal });
export const check = (trial, signal) => post("/v1/definitions/check", trial, signal);
export const attempt = (trial, signal) => post("/v1/definitions/try", trial, signal);

/** Follows the changes until `signal` says so, coming back after each interruption to where it was. `tell` takes the name of
 * an event and its data; `state` is told whether the stream is there. */
export async function follow(filter, tell, state, signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      const response = await ask(`/v1/changes?${new URLSearchParams(filter)}`, {
        headers: last ? { "last-event-id": last } : {},
        signal,
      });
      if (!response.ok) throw await problemOf(response);
      state(true);
      await read(response.body, (event) => {
        if (event.id !== undefined) last = event.id;
        if (event.data !== undefined) tell(event.name ?? "message", JSON.parse(event.data));
      });
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status === 400) last = null;
    }
    state(false);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

/** Events of a stream, by the rules of server-sent events. */
async function read(body, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        tell(event);
        event = {};
        continue;
      }
      const colon = line.indexOf(":");
      const field = line.slice(0, colon);
      const content = line.slice(colon + 1).replace(/^ /, "");
      if (field === "id") event.id = content;
      if (field === "event") event.name = content;
      if (field === "data") event.data = event.data === undefined ? content : `${event.data}\n${content}`;
    }
  }
}
