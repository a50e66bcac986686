// The changes as they are committed, with a filter.

import * as api from "../api.js";
import { fill, h, text } from "../dom.js";
import { card, changeItem, chip, head, settled } from "../parts.js";
import * as words from "../words.js";

/** Changes shown; older ones fall off the end. */
const SHOWN = 200;

export async function show(place, { query, signal }) {
  let isPaused = false;
  let held = [];
  let stream = new AbortController();
  signal.addEventListener("abort", () => stream.abort());
  const list = h("ol", { class: "changes feed", "aria-live": "off" });
  const state = h("span", { role: "status" });
  const told = h("p", { class: "foot" });
  const { segments } = await api.segments();
  if (signal.aborted) return;
  const field = (name, label, control) => h("div", { class: "field" }, h("label", { for: name }, label), control);
  const segment = h("select", { id: "feed-segment" }, h("option", { value: "" }, "All segments"), segments.map(({ name }) => h("option", { value: name }, name)));
  const customer = h("input", { id: "feed-customer", type: "search", placeholder: "All customers", autocomplete: "off", spellcheck: "false" });
  const direction = h("select", { id: "feed-direction" }, h("option", { value: "" }, "Entered and left"), h("option", { value: "entered" }, "Entered"), h("option", { value: "left" }, "Left"));
  const pause = h("button", { type: "button", "aria-pressed": "false" }, "Pause");
  segment.value = query.get("segment") ?? "";
  customer.value = query.get("customer") ?? "";

  const filter = () => Object.fromEntries(Object.entries({ segment: segment.value, customer: customer.value.trim() }).filter(([, value]) => value));
  const isWanted = (change) => !direction.value || change.change === direction.value;
  const add = (change) => {
    if (!isWanted(change)) return;
    if (isPaused) {
      held.push(change);
      if (held.length > SHOWN) held.shift();
      text(pause, `Go on (${held.length} new)`);
      return;
    }
    list.querySelector(".none")?.remove();
    list.prepend(changeItem(change));
    while (list.children.length > SHOWN) list.lastElementChild.remove();
  };
  const alive = (isThere) => fill(state, isThere ? chip("live", "good") : chip("comes back", "warn"));

  const begin = async () => {
    stream.abort();
    stream = new AbortController();
    const { signal: own } = stream;
    held = [];
    fill(list);
    try {
      const recent = await api.recent({ ...filter(), limit: 100 });
      if (own.aborted || signal.aborted) return;
      const changes = recent.changes.filter(isWanted);
      list.append(...changes.map((change) => changeItem(change)));
      if (!changes.length) list.append(h("li", { class: "none" }, "Nothing yet. Changes appear here as they are committed."));
      text(told, recent.since ? `Everything since ${words.instant(recent.since)} was looked at.` : "");
    } catch (error) {
      text(told, error.message);
    }
    const tell = (name, data) => {
      if (name === "change") add(data);
      if (name === "gap" || name === "end") text(told, data.reason);
    };
    api.follow(filter(), tell, alive, own);
  };
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    text(pause, isPaused ? "Go on" : "Pause");
    if (!isPaused) held.splice(0).forEach(add);
  });
  segment.addEventListener("change", begin);
  direction.addEventListener("change", begin);
  customer.addEventListener("input", settled(400, begin));
  place.append(
    head("Live feed", h("p", { class: "lead" }, "Every change of every customer, the moment it is committed.")),
    card(
      null,
      { "aria-label": "Changes" },
      h("div", { class: "filters" }, field("feed-segment", "Segment", segment), field("feed-customer", "Customer", customer), field("feed-direction", "Direction", direction), h("div", { class: "field end" }, pause, state)),
      list,
      told,
    ),
  );
  alive(false);
  await begin();
}
