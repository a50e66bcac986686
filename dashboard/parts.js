// What several pages show alike: changes, chips, instants, problems.

import { h, keyed } from "./dom.js";
import { expression } from "./language.js";
import * as words from "./words.js";

export const segmentLink = (name) => h("a", { class: "segment", href: `#/segments/${encodeURIComponent(name)}` }, name);
export const customerLink = (id) => h("a", { class: "customer", href: `#/customers/${encodeURIComponent(id)}` }, id);

export const chip = (text, kind, title) => h("span", { class: `chip ${kind ?? ""}`, title }, text);

/** An instant, told from now, exact when pointed at. */
export const moment = (at, how = words.ago) => h("time", { datetime: at, title: words.instant(at) }, how(at));

export const head = (title, ...rest) => h("div", { class: "head" }, h("h1", null, title), ...rest);

export const card = (title, attributes, ...children) =>
  h("section", { class: "card", ...attributes }, title && h("h2", null, title), ...children);

export const note = (text, kind = "") => h("p", { class: `note ${kind}` }, text);

/** What went wrong, where the answer would have been. */
export const trouble = (error) =>
  h("div", { class: "note bad", role: "alert" }, h("strong", null, error.title ?? "This did not work"), " ", error.message);

/** A number with its name. */
export function tile(label, kind = "") {
  const value = h("span", { class: "value" }, "–");
  const more = h("span", { class: "more" });
  const image = h("span", { class: "image" });
  const element = h("div", { class: `tile ${kind}` }, h("span", { class: "label" }, label), value, more, image);
  return { element, value, more, image };
}

const mark = (change) =>
  h("span", { class: `mark ${change.change}` }, change.change === "entered" ? "entered" : "left");

/** A condition that decided, as a sentence would have it. */
function reason({ condition, value }) {
  if (value === "true") return [expression(condition)];
  if (value === "false") return [h("span", { class: "not" }, "not "), expression(condition)];
  return [expression(condition), h("span", { class: "is" }, ` is ${words.value(Number.isNaN(Number(value)) ? value : Number(value))}`)];
}

/** A change in a list. `of` leaves out what the page is about. */
export function changeItem(change, of = {}) {
  const why = (change.why ?? []).slice(0, 3);
  const traits = Object.entries(change.traits ?? {}).filter(([, value]) => value !== null);
  return h(
    "li",
    { class: `change ${change.change}` },
    h("time", { datetime: change.at, title: words.instant(change.at) }, words.time(change.at)),
    h(
      "div",
      { class: "what" },
      h(
        "p",
        null,
        !of.customer && [customerLink(change.customer_id), " "],
        mark(change),
        !of.segment && [" ", segmentLink(change.segment)],
        change.cause && h("span", { class: "because" }, " · ", words.cause(change)),
      ),
      why.length > 0 && h("ul", { class: "why" }, why.map((one) => h("li", null, reason(one)))),
      traits.length > 0 &&
        h("p", { class: "traits" }, traits.map(([name, value]) => h("span", { class: "trait" }, `${name} `, h("b", null, words.value(value))))),
    ),
  );
}

/** A list of changes that is updated in place; `none` is said when there are none. `make` makes an entry. */
export function listChanges(list, changes, none, make, keyOf = (change) => change.change_id) {
  list.querySelector(":scope > .none")?.remove();
  keyed(list, changes, keyOf, make);
  if (!changes.length) list.append(h("li", { class: "none" }, none));
}

/** Runs now and then again and again, until the page is left. What is hidden does not ask. */
export function every(milliseconds, signal, work) {
  const again = async () => {
    if (signal.aborted) return;
    if (!document.hidden) await work();
    if (!signal.aborted) setTimeout(again, milliseconds);
  };
  return again();
}

/** Waits until something was quiet for a while. */
export function settled(milliseconds, work) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}
