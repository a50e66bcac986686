// A segment: what it says, how large it is and was, who moved and why, and who is in it.

import * as api from "../api.js";
import { chart } from "../charts.js";
import { fill, h, text } from "../dom.js";
import { expression, variationOf } from "../language.js";
import { card, changeItem, chip, customerLink, every, head, listChanges, moment, note, tile, trouble } from "../parts.js";
import * as words from "../words.js";

const PAGE = 25;

export async function show(place, { argument: name, signal }) {
  const { segments } = await api.segments();
  if (signal.aborted) return;
  const segment = segments.find((one) => one.name === name);
  if (!segment) {
    place.append(head(name), note("There is no segment of this name.", "bad"), h("p", null, h("a", { href: "#/" }, "All segments")));
    return;
  }
  const tiles = { members: tile("Members"), entered: tile("Entered in the last hour", "in"), left: tile("Left in the last hour", "out") };
  const size = h("div", { class: "plot", role: "img", "aria-label": `Members of ${name} over time` });
  const flow = h("div", { class: "plot", role: "img", "aria-label": `How many entered and left ${name} over time` });
  const moved = h("ol", { class: "changes" });
  place.append(
    head(name, h("p", { class: "lead" }, segment.description)),
    h(
      "p",
      { class: "chips" },
      segment.group && chip(`tier of ${segment.group}`),
      segment.purpose && chip(`needs consent: ${segment.purpose}`),
      segment.carry.length > 0 && chip(`carries ${segment.carry.join(", ")}`),
      chip(`definition ${segment.definition}`, "quietly"),
    ),
    h("div", { class: "tiles" }, Object.values(tiles).map((one) => one.element)),
    definition(segment),
    h("div", { class: "columns even" }, card("Size", null, size), card("Came and went", null, flow)),
    h("div", { class: "columns even" }, card("Who moved", null, moved), members(name, signal)),
  );
  const sizes = chart(size, [{ label: "members", colour: "blue", fill: true, format: words.count }], 200);
  const flows = chart(
    flow,
    [
      { label: "entered", colour: "in", bars: true, format: words.count },
      { label: "left", colour: "out", bars: true, format: (value) => words.count(Math.abs(value)) },
    ],
    200,
    { robust: true },
  );
  signal.addEventListener("abort", () => (sizes.end(), flows.end()));
  await every(3000, signal, async () => {
    try {
      const [all, history, recent] = await Promise.all([api.segments(), api.history(name), api.recent({ segment: name, limit: 20 })]);
      if (signal.aborted) return;
      const now = all.segments.find((one) => one.name === name) ?? segment;
      text(tiles.members.value, words.count(now.members));
      text(tiles.members.more, all.complete ? "" : "incomplete for a moment");
      text(tiles.entered.value, `+${words.count(now.entered_last_hour)}`);
      text(tiles.left.value, `−${words.count(now.left_last_hour)}`);
      showCharts(sizes, flows, history.samples);
      showMoved(moved, recent);
    } catch (error) {
      if (!signal.aborted) fill(moved, h("li", null, trouble(error)));
    }
  });
}

function definition(segment) {
  const line = (role, source) => [h("dt", null, role), h("dd", null, expression(source))];
  return card(
    "Definition",
    null,
    h("dl", { class: "definition" }, line("when", segment.when), segment.until && line("until", segment.until)),
    h("p", { class: "foot" }, h("a", { href: `#/try?${new URLSearchParams({ text: variationOf(segment) })}` }, "Try a variation of it")),
  );
}

/** Bars of at least half a minute, so that there is something to see. */
function showCharts(sizes, flows, samples) {
  const times = samples.map((sample) => Date.parse(sample.at) / 1000);
  sizes.set(times, samples.map((sample) => sample.members));
  const [first, last] = [times[0] ?? 0, times.at(-1) ?? 0];
  const step = Math.max(30, Math.ceil((last - first) / 60 / 30) * 30);
  const bins = new Map();
  samples.forEach((sample, index) => {
    const at = Math.floor(times[index] / step) * step;
    const bin = bins.get(at) ?? [0, 0];
    bins.set(at, [bin[0] + sample.entered, bin[1] + sample.left]);
  });
  const entries = [...bins];
  flows.set(
    entries.map(([at]) => at),
    entries.map(([, [entered]]) => entered),
    entries.map(([, [, left]]) => -left),
  );
}

function showMoved(moved, recent) {
  const none = recent.since ? `Nobody, in all changes since ${words.instant(recent.since)}.` : "Nobody yet.";
  listChanges(moved, recent.changes, none, (change) => changeItem(change, { segment: true }));
}

/** Who is in it, a page at a time. */
function members(name, signal) {
  const body = h("tbody");
  const told = h("span", { class: "dim", "aria-live": "polite" });
  const befores = [];
  let after = null;
  let next = null;
  const button = (label, go) => h("button", { type: "button", onclick: go, disabled: true }, label);
  const back = button("Before", () => load(befores.pop()));
  const on = button("Next", () => (befores.push(after), load(next)));
  const again = h("button", { type: "button", class: "quiet", onclick: () => load(after) }, "Look again");
  const load = async (from) => {
    try {
      const page = await api.members(name, from, PAGE);
      if (signal.aborted) return;
      [after, next] = [from, page.next];
      fill(body, page.members.map(({ customer_id: id, since }) => h("tr", null, h("th", { scope: "row" }, customerLink(id)), h("td", null, moment(since)))));
      back.disabled = befores.length === 0;
      on.disabled = next === null;
      const some = page.members.length ? `Page ${befores.length + 1}` : "Nobody is in it";
      text(told, `${some}${page.complete ? "" : ", incomplete for a moment"}`);
    } catch (error) {
      if (!signal.aborted) fill(body, h("tr", null, h("td", { colspan: 2 }, trouble(error))));
    }
  };
  load(null);
  return card(
    "Members",
    null,
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Members" }, h("table", null, h("thead", null, h("tr", null, h("th", { scope: "col" }, "Customer"), h("th", { scope: "col" }, "Since"))), body)),
    h("p", { class: "foot pager" }, back, on, again, told),
  );
}
