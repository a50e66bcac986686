// A customer: what is known of them, what happened to them, and of each segment why they are in it or not.

import * as api from "../api.js";
import { fill, h, keyed, text } from "../dom.js";
import { expression } from "../language.js";
import { card, changeItem, chip, every, head, listChanges, moment, note, segmentLink, trouble } from "../parts.js";
import * as words from "../words.js";

/** With more segments than this only those they are in are explained by themselves. */
const EXPLAINED_MAX = 200;
/** The timeline goes back so many changes. */
const PAST_MAX = 200;

export async function show(place, { argument: id, signal }) {
  const known = h("div", { class: "known" });
  const timeline = h("ol", { class: "changes timeline" });
  const complaint = h("div", { "aria-live": "polite" });
  const segments = explanations(id, signal);
  const lead = h("p", { class: "lead" });
  place.append(
    head(id, lead),
    complaint,
    h("div", { class: "columns wide" }, h("div", { class: "stack" }, segments.element), h("div", { class: "stack" }, known, card("Timeline", null, timeline))),
  );
  // Read once, because it is looked for among the changes of many others; what comes after that is recent.
  const past = api.past(id, PAST_MAX).catch(() => null);
  let round = 0;
  await every(3000, signal, async () => {
    try {
      const [customer, recent, before] = await Promise.all([api.customer(id), api.recent({ customer: id, limit: 100 }).catch(() => null), past]);
      if (signal.aborted) return;
      fill(complaint);
      text(lead, summary(customer));
      showKnown(known, customer);
      showTimeline(timeline, customer, [...(recent?.changes ?? []), ...(before?.changes ?? [])]);
      // It is more work to tell than all the rest.
      if (round++ % 3 === 0) await segments.update(customer);
    } catch (error) {
      if (!signal.aborted) fill(complaint, error.status === 404 ? note(error.message, "warn") : trouble(error));
    }
  });
}

function summary(customer) {
  const count = customer.memberships.length;
  const last = customer.own_time ? `, last heard of ${words.ago(customer.own_time)}` : "";
  return `In ${count} segment${count === 1 ? "" : "s"}, ${words.count(customer.sequence)} changes so far${last}.`;
}

function showKnown(known, customer) {
  const list = (title, entries) =>
    entries.length > 0 &&
    card(title, null, h("dl", { class: "facts" }, entries.map(([name, value]) => [h("dt", null, name), h("dd", { class: value === null ? "dim" : "" }, words.value(value))])));
  const traits = Object.entries(customer.traits);
  fill(
    known,
    list("Traits", [...traits.filter(([, value]) => value !== null), ...traits.filter(([, value]) => value === null)]),
    list("Profile", Object.entries(customer.profile)),
    list("Consents", Object.entries(customer.consents)),
  );
}

/** The changes that are still at hand, and before those what the memberships tell. */
function showTimeline(timeline, customer, known) {
  const changes = [...new Map(known.map((change) => [change.change_id, change])).values()];
  const told = new Set(changes.map((change) => `${change.segment} ${change.at}`));
  const earlier = customer.memberships
    .filter(({ segment, since }) => !told.has(`${segment} ${since}`))
    .map(({ segment, since }) => ({ segment, at: since, change: "entered", key: `${segment} ${since}` }));
  const all = [...changes, ...earlier].sort((a, b) => b.at.localeCompare(a.at) || (b.sequence ?? 0) - (a.sequence ?? 0));
  let last = null;
  const entries = all.flatMap((change) => {
    const today = new Date(change.at).toDateString();
    const heading = today === last ? [] : [{ key: today, day: change.at }];
    last = today;
    return [...heading, change];
  });
  const make = (entry) => (entry.day ? h("li", { class: "day" }, new Date(entry.day).toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" })) : changeItem(entry, { customer: true }));
  listChanges(timeline, entries, "Nothing has happened yet.", make, (entry) => entry.change_id ?? entry.key);
}

const FILTERS = [
  ["in", "In", (one) => one.member],
  ["soon", "About to change", (one) => one.next_flip !== null],
  ["out", "Not in", (one) => !one.member],
  ["all", "All", () => true],
];

/** Each segment with its conditions, their values and what comes next by itself. */
function explanations(id, signal) {
  let chosen = "in";
  let explained = null;
  const list = h("ul", { class: "explained" });
  const filter = h("input", { type: "search", id: "filter-explained", placeholder: "Filter segments", autocomplete: "off", oninput: () => draw() });
  const buttons = FILTERS.map(([key, label]) => ({ key, label, button: h("button", { type: "button", onclick: () => ((chosen = key), draw()) }, label) }));
  const draw = () => {
    const wanted = filter.value.trim().toLowerCase();
    const test = FILTERS.find(([key]) => key === chosen)[2];
    const shown = (explained ?? []).filter((one) => test(one) && one.segment.toLowerCase().includes(wanted));
    if (chosen === "soon") shown.sort((a, b) => a.next_flip.localeCompare(b.next_flip));
    for (const { key, label, button } of buttons) {
      button.setAttribute("aria-pressed", String(key === chosen));
      const count = explained?.filter(FILTERS.find(([known]) => known === key)[2]).length;
      text(button, count === undefined ? label : `${label} ${count}`);
    }
    keyed(list, shown, (one) => one.segment, makeExplained, updateExplained);
    text(none, explained ? "No segment is like that." : "Looking at every condition…");
    none.hidden = shown.length > 0;
  };
  const none = h("p", { class: "none", role: "status" });
  const element = card(
    "Segments",
    null,
    h("div", { class: "choose" }, h("div", { role: "group", "aria-label": "Which segments" }, buttons.map(({ button }) => button)), h("label", { class: "hidden", for: "filter-explained" }, "Filter segments"), filter),
    list,
    none,
  );
  let isLarge = null;
  queueMicrotask(draw);
  const update = async (customer) => {
    isLarge ??= (await api.segments()).segments.length > EXPLAINED_MAX;
    if (isLarge) {
      const all = await Promise.all(customer.memberships.slice(0, 30).map(({ segment }) => api.explain(id, segment)));
      explained = all.flatMap((one) => one.segments);
    } else {
      explained = (await api.explain(id)).segments;
    }
    if (!signal.aborted) draw();
  };
  return { element, update };
}

function makeExplained(one) {
  const state = h("span", { class: "state" });
  const next = h("span", { class: "next" });
  const body = h("div", { class: "conditions" });
  const details = h("details", null, h("summary", null, state, h("span", { class: "segment" }, one.segment), next), body);
  const element = h("li", null, details);
  // What is closed is not drawn.
  details.addEventListener("toggle", () => details.open && conditions(body, element.one));
  return Object.assign(element, { state, next, body, details });
}

function updateExplained(element, one) {
  const isSame = JSON.stringify({ ...element.one }) === JSON.stringify(one);
  element.one = one;
  const since = one.member ? `since ${words.instant(one.since)}` : "";
  fill(element.state, chip(one.member ? "in" : "out", one.member ? "in" : "", since));
  fill(element.next, one.next_flip ? [one.member ? "leaves by itself " : "enters by itself ", moment(one.next_flip, words.hence)] : one.member ? ["since ", moment(one.since)] : "");
  if (!isSame && element.details.open) conditions(element.body, one);
}

function conditions(body, one) {
  fill(
    body,
    one.missing && h("p", { class: "missing" }, h("b", null, "Missing: "), one.missing),
    h("p", { class: "role" }, "when"),
    h("ul", { class: "tree" }, condition(one.when)),
    one.until && [h("p", { class: "role" }, "until"), h("ul", { class: "tree" }, condition(one.until))],
    one.looked_until && h("p", { class: "foot" }, `What comes by itself was looked for until ${words.instant(one.looked_until)}.`),
    h("p", { class: "foot" }, segmentLink(one.segment)),
  );
}

const JUNCTIONS = { and: "all of", or: "any of", not: "not" };

function condition(of) {
  const holds = h("span", { class: `holds ${of.holds ? "yes" : "no"}` }, of.holds ? "✓" : "✗", h("span", { class: "hidden" }, of.holds ? " holds: " : " does not hold: "));
  const value = !of.junction && typeof of.value !== "boolean" && h("span", { class: "is" }, `is ${words.value(of.value)}`);
  const flip = of.next_flip && h("span", { class: "flip" }, of.holds ? "until " : "holds ", moment(of.next_flip, (at) => (of.holds ? words.instant(at) : words.hence(at))));
  return h(
    "li",
    { class: of.decides ? "decides" : "" },
    h("div", { class: "condition" }, holds, of.junction ? h("span", { class: "junction" }, JUNCTIONS[of.junction]) : expression(of.condition), value, flip),
    of.parts && h("ul", null, of.parts.map(condition)),
  );
}
