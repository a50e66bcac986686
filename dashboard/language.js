// The colours of the language: expressions, and the YAML around them.

import { h } from "./dom.js";

const KEYWORDS = new Set(
  `after and between contains each ends false for in is known not now on or over since starts then this trait true where
   with within without day week month year`.split(/\s+/),
);
const KEYS = new Set(
  `segments traits profile groups tiers tests name description when until purpose carry value type events expect changes at
   segment change customer out in`.split(/\s+/),
);

const TOKENS =
  /(?<comment>#[^\n]*)|(?<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\n]|'')*')|(?<instant>\b\d{4}-\d\d-\d\d(?:T[\d:.]+Z?)?)|(?<number>\b\d+(?:\.\d+)?(?:ms|[smhdw])?\b)|(?<name>`[^`\n]*`|[A-Za-z][A-Za-z0-9_]*)|(?<operator><=|>=|!=|[=<>+*/-])/g;

/** The pieces of a text: where each begins and ends, and what it is. */
export function pieces(source, yaml = false) {
  const found = [];
  for (const match of source.matchAll(TOKENS)) {
    const end = match.index + match[0].length;
    const kind = kindOf(match, source, end, yaml);
    if (kind) found.push({ start: match.index, end, kind });
  }
  return found;
}

function kindOf({ groups, index }, source, end, yaml) {
  if (groups.comment) return yaml && (index === 0 || /\s/.test(source[index - 1])) ? "comment" : null;
  if (groups.string) return "string";
  if (groups.instant) return "number";
  if (groups.number) return "number";
  if (groups.operator) return yaml && groups.operator === "-" ? null : "operator";
  const after = source.slice(end);
  if (yaml && /^\s*:(\s|$)/.test(after)) return KEYS.has(groups.name) ? "key" : null;
  if (/^\(/.test(after)) return "function";
  if (KEYWORDS.has(groups.name.toLowerCase())) return yaml && isProse(source, index) ? null : "keyword";
  return null;
}

/** Whether a place is within a line of YAML that holds words for people. */
function isProse(source, index) {
  const line = source.slice(source.lastIndexOf("\n", index) + 1, index);
  const words = /(^|[\s{,-])(description|name|purpose):(.*)$/.exec(line);
  // Between braces a comma ends the words.
  return words !== null && !/\b(when|until|value):/.test(words[3]) && !(line.includes("{") && words[3].includes(","));
}

/** An expression, coloured. */
export function expression(source) {
  return h("code", { class: "code" }, coloured(source, pieces(source)));
}

/** A text as nodes, its pieces coloured and the given ranges marked. */
export function coloured(source, found, marks = []) {
  const edges = new Set([0, source.length]);
  for (const piece of [...found, ...marks]) edges.add(piece.start).add(piece.end);
  const places = [...edges].filter((place) => place <= source.length).sort((a, b) => a - b);
  const nodes = [];
  let next = 0;
  for (let index = 0; index + 1 < places.length; index += 1) {
    const [start, end] = [places[index], places[index + 1]];
    while (next < found.length && found[next].end <= start) next += 1;
    const piece = found[next]?.start <= start ? found[next] : null;
    const marked = marks.some((mark) => mark.start <= start && end <= mark.end);
    const part = source.slice(start, end);
    const classes = [piece && `t-${piece.kind}`, marked && "wrong"].filter(Boolean).join(" ");
    nodes.push(classes ? h("span", { class: classes }, part) : part);
  }
  return nodes;
}

/** An expression as a scalar of YAML. */
const quoted = (source) => (/: |#|^["'[{&*!|>%@`]/.test(source) ? `'${source.replaceAll("'", "''")}'` : source);

/** A file that defines the same as a segment under another name, to begin from. */
export function variationOf(segment) {
  const lines = [
    "segments:",
    `  - name: ${segment.name.replaceAll(".", "_")}_variation`,
    `    description: ${JSON.stringify(segment.description)}`,
    `    when: ${quoted(segment.when)}`,
    segment.until && `    until: ${quoted(segment.until)}`,
  ];
  return `${lines.filter(Boolean).join("\n")}\n`;
}
