// Numbers, instants and reasons as people say them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 4 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export const count = (number) => (Math.abs(number) < 100_000 ? whole.format(number) : short.format(number));
export const rate = (number) => (number < 10 ? exact.format(Math.round(number * 10) / 10) : count(number));
export const time = (instant) => clock.format(new Date(instant));
export const instant = (at) => `${day.format(new Date(at))}, ${clock.format(new Date(at))}`;

/** How long something lasts, in its largest unit or two. */
export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  if (seconds < 90 * 86400) return `${Math.round(seconds / 86400)} days`;
  if (seconds < 700 * 86400) return `${Math.round(seconds / 2_629_800)} months`;
  return `${Math.round(seconds / 31_557_600)} years`;
}

export const ago = (at) => {
  const ms = Date.now() - new Date(at);
  return ms < 1500 ? "just now" : `${duration(ms)} ago`;
};

/** When something comes. */
export const hence = (at) => {
  const ms = new Date(at) - Date.now();
  return ms <= 0 ? "now" : `in ${duration(ms)}`;
};

const words = (name) => name.replaceAll("_", " ");

/** What brought a change about. */
export function cause(change) {
  const { kind, type } = change.cause ?? {};
  if (kind === "event") {
    const article = /^[aeiou]/.test(type ?? "") ? "an" : "a";
    return type === "profile" ? "a profile update" : `${article} ${words(type ?? "record")}`;
  }
  return (
    { time: "time passed", consent: "a consent record", erasure: "asked to be forgotten", definition: "a new definition" }[kind] ??
    kind ??
    ""
  );
}

/** A value as JSON has it, as a text. */
export function value(of) {
  if (of === null || of === undefined) return "unknown";
  if (Array.isArray(of)) return of.length ? of.map(value).join(", ") : "none";
  if (typeof of === "number") return exact.format(of);
  if (typeof of === "boolean") return of ? "yes" : "no";
  if (/^\d{4}-\d\d-\d\dT/.test(of)) return instant(of);
  return of;
}
