// Try it: write a definition, see what is wrong as one types, and whom it would hold now.

import * as api from "../api.js";
import { fill, h, text } from "../dom.js";
import { coloured, pieces, variationOf } from "../language.js";
import { card, chip, customerLink, head, note, settled, trouble } from "../parts.js";
import * as words from "../words.js";

export async function show(place, { query, signal }) {
  const [definitions, { segments }] = await Promise.all([api.definitions(), api.segments()]);
  if (signal.aborted) return;
  // Something that is counted already, so that there is an answer to look at.
  const example = segments.find((one) => one.members > 0) ?? segments[0];
  const asked = query.get("file");
  const files = definitions.files;
  const file = h("select", { id: "trial-file" }, h("option", { value: "" }, "a new file"), files.map(({ name }) => h("option", { value: name }, `instead of ${name}`)));
  const editor = codeEditor();
  const found = h("div", { class: "found", id: "trial-found", "aria-live": "polite" });
  const tried = h("div", { class: "tried", "aria-live": "polite" });
  const segment = h("select", { id: "trial-segment" });
  const chooser = h("div", { class: "field", hidden: true }, h("label", { for: "trial-segment" }, "Segment to look at"), segment);
  file.value = files.some(({ name }) => name === asked) ? asked : "";
  const textOf = (name) => files.find((one) => one.name === name)?.text ?? (example ? variationOf(example) : "segments:\n");
  editor.set(query.get("text") ?? textOf(file.value));

  let request = new AbortController();
  signal.addEventListener("abort", () => request.abort());
  const trial = () => ({ text: editor.text(), ...(file.value && { file: file.value }) });
  const look = settled(500, async () => {
    const { signal: own } = request;
    try {
      const result = await api.attempt({ ...trial(), ...(segment.value && { segment: segment.value }) }, own);
      if (!own.aborted) fill(tried, told(result));
    } catch (error) {
      if (!own.aborted) fill(tried, trouble(error));
    }
  });
  const check = async () => {
    request.abort();
    request = new AbortController();
    const { signal: own } = request;
    try {
      const result = await api.check(trial(), own);
      if (own.aborted) return;
      const here = result.diagnostics.filter((one) => one.file === result.file);
      const marks = editor.mark(here);
      fill(found, result.valid ? h("p", { class: "fine" }, chip("valid", "good"), " ", plural(result.segments.length)) : diagnosticList(result.diagnostics, (one) => editor.go(marks.get(one))));
      chooser.hidden = result.segments.length < 2;
      const before = segment.value;
      fill(segment, result.segments.map(({ name }) => h("option", { value: name }, name)));
      if (result.segments.some(({ name }) => name === before)) segment.value = before;
      tried.classList.toggle("stale", !result.valid);
      if (result.valid && !result.segments.length) fill(tried, note("The text defines no segment yet."));
      if (!result.valid || !result.segments.length) return;
      if (!tried.childNodes.length) fill(tried, h("p", { class: "none" }, "Looking at customers…"));
      look();
    } catch (error) {
      if (!own.aborted) fill(found, trouble(error));
    }
  };
  editor.area.addEventListener("input", settled(200, check));
  segment.addEventListener("change", look);
  file.addEventListener("change", () => (editor.set(textOf(file.value)), check()));
  place.append(
    head("Try it", h("p", { class: "lead" }, "Write a definition next to those at work. Nothing of it is kept.")),
    h(
      "div",
      { class: "columns even" },
      h("section", { class: "card", "aria-label": "Definition" }, h("div", { class: "field inline" }, h("label", { for: "trial-file" }, "As"), file), editor.element, found),
      card("Who would be in it now", null, chooser, tried),
    ),
  );
  await check();
}

const plural = (count) => (count === 1 ? "one segment" : `${count} segments`);

function told(result) {
  const share = result.looked_at ? (100 * result.members) / result.looked_at : 0;
  return [
    h("p", { class: "big" }, h("b", null, words.count(result.members)), ` of ${words.count(result.looked_at)} customers looked at`, h("span", { class: "dim" }, ` · ${share.toFixed(share < 10 ? 1 : 0)} %`)),
    h("meter", { min: 0, max: 100, value: share, "aria-label": "Share of the customers looked at" }),
    h("p", { class: "dim" }, `${result.segment}, as of ${words.time(result.at)}. A sample: the first customers of each partition${result.complete ? "" : " that this process has"}.`),
    result.not_counted_yet.length > 0 &&
      h("div", { class: "note warn" }, h("strong", null, "Not counted yet: "), "no running definition needs this, so it is empty for everyone, and would be counted from when the definition is put to work.", h("ul", null, result.not_counted_yet.map((one) => h("li", null, h("code", null, one))))),
    result.customers.length > 0 && h("ul", { class: "ids" }, result.customers.map((id) => h("li", null, customerLink(id)))),
  ];
}

/** What is wrong, each with its place. */
export function diagnosticList(diagnostics, go) {
  const place = (one) => (one.line ? `${one.file}:${one.line}:${one.column}` : one.file);
  return h(
    "ul",
    { class: "diagnostics" },
    diagnostics.map((one) =>
      h(
        "li",
        null,
        h("p", null, chip(one.code, "bad"), " ", h("strong", null, one.message)),
        h("p", { class: "dim" }, go ? h("button", { type: "button", class: "link", onclick: () => go(one) }, place(one)) : place(one), one.expected && ` · expected: ${one.expected}`, one.help && ` · ${one.help}`),
      ),
    ),
  );
}

/** A text area over its own coloured text. */
function codeEditor() {
  const area = h("textarea", { id: "trial-text", spellcheck: "false", autocapitalize: "off", autocomplete: "off", wrap: "off", "aria-label": "Definition, as YAML", "aria-describedby": "trial-found" });
  const behind = h("pre", { class: "code", "aria-hidden": "true" });
  const element = h("div", { class: "editor" }, behind, area);
  let marks = [];
  const draw = () => {
    fill(behind, coloured(area.value, pieces(area.value, true), marks), "\n");
    area.rows = Math.min(Math.max(area.value.split("\n").length + 1, 12), 32);
  };
  area.addEventListener("input", () => ((marks = []), draw()));
  area.addEventListener("scroll", () => ([behind.scrollLeft, behind.scrollTop] = [area.scrollLeft, area.scrollTop]));
  return {
    element,
    area,
    text: () => area.value,
    set: (value) => ((area.value = value), (marks = []), draw()),
    /** Underlines diagnostics; gives the range of each. */
    mark(diagnostics) {
      const ranges = new Map(diagnostics.map((one) => [one, rangeOf(area.value, one)]));
      marks = [...ranges.values()];
      draw();
      return ranges;
    },
    go(range) {
      if (!range) return;
      area.focus();
      area.setSelectionRange(range.start, range.end);
    },
  };
}

/** Where a diagnostic is in the text: columns count characters, and texts count units. */
function rangeOf(source, { line, column, length }) {
  const lines = source.split("\n");
  const start = lines.slice(0, Math.max(line - 1, 0)).reduce((sum, one) => sum + one.length + 1, 0);
  const letters = Array.from(lines[line - 1] ?? "");
  const units = (from, to) => letters.slice(from, to).join("").length;
  const begin = start + units(0, column - 1);
  return { start: begin, end: begin + Math.max(units(column - 1, column - 1 + length), 1) };
}
