// All at a glance: what comes in, what goes out, who is where, and whether all is well.

import * as api from "../api.js";
import { chart, sparkline } from "../charts.js";
import { fill, h, keyed, text } from "../dom.js";
import { card, changeItem, chip, every, head, listChanges, note, segmentLink, tile, trouble } from "../parts.js";
import * as words from "../words.js";

const STEP_SECONDS = 5;
const LATEST = 5;
/** Segments listed before one asks for all. */
const LISTED = 25;

export async function show(place, { signal }) {
  const tiles = {
    events: tile("Events a second"),
    changes: tile("Changes a second"),
    lag: tile("Behind the broker"),
    clock: tile("Clock behind"),
  };
  const complaint = h("div", { "aria-live": "polite" });
  const plot = h("div", { class: "plot", role: "img", "aria-label": "Events and changes a second over the last hour" });
  const health = h("div", { class: "health" });
  const input = h("div");
  const latest = h("ol", { class: "changes" });
  const table = segmentTable();
  place.append(
    head("Overview"),
    complaint,
    h("div", { class: "tiles" }, Object.values(tiles).map((one) => one.element)),
    h(
      "div",
      { class: "columns" },
      card("The last hour", null, plot),
      card("Just now", null, latest, h("p", { class: "foot" }, h("a", { href: "#/feed" }, "Follow the live feed"))),
    ),
    h("div", { class: "columns even" }, card("Coming in", null, input), card("Workers", null, health)),
    table.element,
  );
  const lines = chart(
    plot,
    [
      { label: "events/s", colour: "blue", fill: true, format: words.rate },
      { label: "changes/s", colour: "accent", format: words.rate },
    ],
    280,
    { robust: true },
  );
  signal.addEventListener("abort", () => lines.end());

  const one = async () => {
    try {
      const [status, segments, recent] = await Promise.all([api.status(), api.segments(), api.recent({ limit: LATEST }).catch(() => null)]);
      if (signal.aborted) return;
      fill(complaint, complaints(status));
      showTiles(tiles, status);
      const samples = status.samples;
      lines.set(
        samples.map((sample) => Date.parse(sample.at) / 1000),
        samples.map((sample) => sample.events / STEP_SECONDS),
        samples.map((sample) => sample.changes / STEP_SECONDS),
      );
      table.set(segments);
      if (recent) listChanges(latest, recent.changes, "Nobody has entered or left a segment yet.", (change) => changeItem(change));
      showInput(input, status);
      showWorkers(health, status);
    } catch (error) {
      if (!signal.aborted) fill(complaint, trouble(error));
    }
  };
  await every(2500, signal, one);
}

const complaints = (status) => [
  ...status.unhealthy.map((complaint) => note(complaint, "bad")),
  ...status.not_ready.map((complaint) => note(complaint, "warn")),
  ...status.silent.map((complaint) => note(`Another process could not be asked: ${complaint}`, "warn")),
  !status.complete && !status.not_ready.length && note("Some partitions change hands: the numbers are incomplete for a moment.", "warn"),
];

function showTiles(tiles, status) {
  const sum = (list, key) => list.reduce((total, one) => total + one[key], 0);
  const set = (one, value, more, samples) => {
    text(one.value, value);
    text(one.more, more);
    if (samples) fill(one.image, sparkline(samples));
  };
  const last = status.samples.slice(-60);
  const refused = sum(status.events, "refused");
  const kinds = status.events.filter((one) => one.per_second > 0).sort((a, b) => b.per_second - a.per_second);
  const total = `${words.count(sum(status.events, "records"))} read${refused ? `, ${words.count(refused)} refused` : ""}`;
  set(tiles.events, words.rate(sum(status.events, "per_second")), total, last.map((sample) => sample.events));
  tiles.events.element.title = kinds.map((one) => `${one.type} ${words.rate(one.per_second)}/s`).join("\n");
  set(tiles.changes, words.rate(status.changes.per_second), `${words.count(status.changes.total)} told`, last.map((sample) => sample.changes));
  const lag = Math.max(0, sum(status.lag, "records"));
  set(tiles.lag, words.count(lag), lag === 1 ? "record" : "records", last.map((sample) => Math.max(0, sample.lag)));
  tiles.lag.element.title = status.lag.map((one) => `${one.topic}: ${one.records}`).join("\n");
  const clock = status.clock_lag_seconds;
  set(tiles.clock, clock === null ? "–" : words.duration(clock * 1000), "behind the wall clock");
}

function showInput(input, status) {
  const rows = status.events.map((one) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, one.type),
      h("td", { class: "number" }, words.rate(one.per_second)),
      h("td", { class: "number" }, words.count(one.records)),
      h("td", { class: `number ${one.refused ? "out" : ""}` }, words.count(one.refused)),
    ),
  );
  const headings = ["Record", "A second", "Read", "Refused"].map((label, index) => h("th", { scope: "col", class: index ? "number" : "" }, label));
  const lag = status.lag.map(({ topic, records }) => `${topic} ${words.count(Math.max(0, records))}`);
  fill(
    input,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", { class: "tight" }, h("thead", null, h("tr", null, headings)), h("tbody", null, rows))),
    h("p", { class: "foot" }, lag.length ? `Not yet processed: ${lag.join(" · ")}` : "Nothing is being read yet."),
  );
}

function showWorkers(health, status) {
  const workers = status.workers;
  const rows = workers.map((worker) => {
    const state = worker.failed ? ["ended", "bad"] : worker.waiting_for ? ["waits", "warn"] : worker.restoring.length ? ["restores", "warn"] : ["works", "good"];
    const more = worker.failed ?? worker.waiting_for ?? "";
    return h(
      "li",
      null,
      chip(...state, more),
      h("span", { class: "name" }, `Worker ${worker.worker}`),
      h("span", { class: "dim" }, worker.process),
      h("span", { class: "dim" }, worker.partitions.length ? `partitions ${worker.partitions.join(", ")}` : "no partitions"),
      more && h("span", { class: "dim" }, more),
    );
  });
  const age = words.duration(Date.parse(status.at) - Date.parse(status.started_at));
  fill(
    health,
    h("ul", { class: "workers" }, rows),
    h("p", { class: "foot" }, `segue ${status.version} · up ${age} · ${status.partitions} partitions · definitions ${status.definitions.slice(0, 8)}`),
  );
}

const ORDERS = {
  members: (a, b) => b.members - a.members,
  entered: (a, b) => b.entered_last_hour - a.entered_last_hour,
  left: (a, b) => b.left_last_hour - a.left_last_hour,
  name: (a, b) => a.name.localeCompare(b.name),
};

/** The table of segments: filtered, sorted, and updated in place. */
function segmentTable() {
  let order = "members";
  let data = null;
  let isWhole = false;
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => ((isWhole = true), draw()) });
  const body = h("tbody");
  const told = h("p", { class: "foot", "aria-live": "polite" });
  const filter = h("input", { type: "search", id: "filter-segments", placeholder: "Filter segments", autocomplete: "off", oninput: () => draw() });
  const header = (key, label, kind) => {
    const button = h("button", { type: "button", onclick: () => ((order = key), draw()) }, label);
    return { key, cell: h("th", { scope: "col", class: kind }, button) };
  };
  const headers = [header("name", "Segment"), header("members", "Members", "number"), header("entered", "Entered /h", "number"), header("left", "Left /h", "number")];
  const draw = () => {
    if (!data) return;
    const wanted = filter.value.trim().toLowerCase();
    const shown = data.filter((segment) => `${segment.name} ${segment.description}`.toLowerCase().includes(wanted)).sort(ORDERS[order]);
    const most = Math.max(1, ...data.map((segment) => segment.members));
    const listed = isWhole || wanted ? shown : shown.slice(0, LISTED);
    keyed(body, listed, (segment) => segment.name, makeRow, (row, segment) => updateRow(row, segment, most));
    for (const { key, cell } of headers) cell.setAttribute("aria-sort", key !== order ? "none" : key === "name" ? "ascending" : "descending");
    more.hidden = listed.length === shown.length;
    text(more, `Show all ${shown.length}`);
    text(told, shown.length === data.length ? `${data.length} segments` : `${shown.length} of ${data.length} segments`);
  };
  const element = h(
    "section",
    { class: "card" },
    h("div", { class: "cardhead" }, h("h2", null, "Segments"), h("label", { class: "hidden", for: "filter-segments" }, "Filter segments"), filter),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Segments" }, h("table", { class: "segments" }, h("thead", null, h("tr", null, headers.map(({ cell }) => cell))), body)),
    more,
    told,
  );
  return { element, set: ({ segments }) => ((data = segments), draw()) };
}

function makeRow(segment) {
  const figures = { members: h("td", { class: "number" }), entered: h("td", { class: "number in" }), left: h("td", { class: "number out" }) };
  const bar = h("span", { class: "size" });
  const row = h(
    "tr",
    null,
    h("th", { scope: "row" }, segmentLink(segment.name), h("span", { class: "dim" }, segment.description), bar),
    Object.values(figures),
  );
  return Object.assign(row, { figures, bar });
}

function updateRow(row, segment, most) {
  text(row.figures.members, words.count(segment.members));
  text(row.figures.entered, segment.entered_last_hour ? `+${words.count(segment.entered_last_hour)}` : "0");
  text(row.figures.left, segment.left_last_hour ? `−${words.count(segment.left_last_hour)}` : "0");
  row.bar.style.setProperty("--share", `${(100 * segment.members) / most}%`);
}
