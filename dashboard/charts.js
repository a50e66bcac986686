// Charts: uPlot where there are axes to read, a plain line where there are none.

import { svg } from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A line without axes. */
export function sparkline(values) {
  const [width, height] = [120, 28];
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`);
  const image = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length > 1) {
    image.append(svg("polygon", { points: `0,${height} ${points.join(" ")} ${width},${height}` }), svg("polyline", { points: points.join(" ") }));
  }
  return image;
}

/** A chart of several series over time, which fits its container and follows the theme. `series` are {label, colour, bars,
 * fill, format}; `set(times, ...values)` gives it data. With `robust` a single spike does not flatten all the rest: it goes
 * over the top. */
export function chart(container, series, height, { robust = false } = {}) {
  let plot = null;
  let data = null;
  const options = () => ({
    width: Math.max(container.clientWidth, 200),
    height,
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    legend: { live: true },
    scales: { x: { time: true }, y: { range: (_, low, high) => range(low ?? 0, high ?? 1) } },
    axes: [axis({ space: 70, values: (_, ticks) => ticks.map(hour) }), axis({ size: 52, space: 28, values: (_, ticks) => ticks.map((tick) => short(tick)) })],
    series: [
      { value: (_, at) => (at === null ? "" : new Date(at * 1000).toLocaleTimeString("en-GB")) },
      ...series.map((one) => ({
        label: one.label,
        stroke: colour(one.colour),
        width: one.bars ? 0 : 1.75,
        fill: one.bars ? colour(one.colour) : one.fill ? `${colour(one.colour)}22` : undefined,
        paths: one.bars ? uPlot.paths.bars({ size: [0.7, 14] }) : undefined,
        points: { show: false },
        value: (_, value) => (value === null || value === undefined ? "" : one.format(value)),
      })),
    ],
  });
  const range = (low, high) => {
    const most = robust ? usual(data) : high;
    return [Math.max(Math.min(low, 0), robust ? -most : low) * 1.05, Math.max(Math.min(high, most), 1) * 1.05];
  };
  const axis = (more) => ({
    stroke: colour("muted"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
    ...more,
  });
  const draw = () => {
    if (!data || !container.isConnected) return;
    plot?.destroy();
    plot = new uPlot(options(), data, container);
  };
  const size = new ResizeObserver(() => plot?.setSize({ width: Math.max(container.clientWidth, 200), height }));
  const theme = new MutationObserver(draw);
  size.observe(container);
  theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  return {
    set(times, ...values) {
      const first = data === null;
      data = [times, ...values];
      if (first) draw();
      else plot?.setData(data);
    },
    end() {
      size.disconnect();
      theme.disconnect();
      plot?.destroy();
    },
  };
}

/** The greatest size, unless it towers over nearly all others. */
function usual([, ...series]) {
  const values = series.flat().filter((value) => value !== null).map(Math.abs).sort((a, b) => a - b);
  const most = values.at(-1) ?? 1;
  const nearlyAll = values[Math.floor(values.length * 0.97)] ?? most;
  return nearlyAll > 0 && most > nearlyAll * 4 ? nearlyAll * 2 : most;
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const hour = (seconds) => clock.format(new Date(seconds * 1000));
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const short = (number) => compact.format(Math.abs(number));
