// Charts as inline SVG. Text is set as text alone, so nobody's words become markup.

import { ticks } from "./derived.js";

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8;

/** An SVG element with attributes and children. */
export function s(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children.filter((child) => child !== null).map((child) =>
    typeof child === "object" ? child : document.createTextNode(String(child))));
  return made;
}

/** The class of a colour. */
export const colour = (at) => `c${at % COLOURS}`;

/** A mark at a point: its shape tells series apart without colour. */
export function mark(at, x, y, size = 4) {
  const shapes = [
    () => s("circle", { cx: x, cy: y, r: size }),
    () => s("rect", { x: x - size, y: y - size, width: 2 * size, height: 2 * size }),
    () => s("path", { d: `M${x} ${y - size - 1} l${size + 1} ${2 * size} h${-2 * size - 2}z` }),
    () => s("path", { d: `M${x} ${y - size - 1} l${size + 1} ${size + 1} l${-size - 1} ${size + 1} l${-size - 1} ${-size - 1}z` }),
  ];
  const made = shapes[at % shapes.length]();
  made.setAttribute("class", `${at % (2 * shapes.length) < shapes.length ? "dot" : "hollow"} ${colour(at)}`);
  return made;
}

const short = (value) => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
  ? value.toExponential(1) : String(Number(value.toPrecision(3))));

/**
 * Lines over x.
 * series: [{name, points: [{x, y, low?, high?}]}]; about: what the chart shows, for screen readers.
 */
export function lines(width, series, { about, xName, yMin, yMax, floor = null, whole = false, marks = true }) {
  const height = 230, left = 50, right = 14, top = 12, bottom = 38;
  const points = series.flatMap((of) => of.points);
  const xs = points.map((p) => p.x);
  const ys = points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]).concat(floor === null ? [] : [floor]);
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [yMin ?? Math.min(...ys), yMax ?? Math.max(...ys)];
  if (x0 === x1) { x0 -= 0.5; x1 += 0.5; }
  if (y0 === y1) { y0 -= 0.5; y1 += 0.5; }
  const X = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const Y = (y) => height - bottom - ((Math.min(Math.max(y, y0), y1) - y0) / (y1 - y0)) * (height - top - bottom);
  const made = s("svg", { width, height, role: "img", "aria-label": about });
  for (const y of ticks(y0, y1, 5)) {
    made.append(s("line", { class: "grid", x1: left, x2: width - right, y1: Y(y), y2: Y(y) }),
      s("text", { class: "soft", x: left - 6, y: Y(y) + 4, "text-anchor": "end" }, short(y)));
  }
  for (const x of ticks(x0, x1, Math.min(8, Math.floor(width / 70))).filter((x) => !whole || Number.isInteger(x))) {
    made.append(s("text", { class: "soft", x: X(x), y: height - bottom + 18, "text-anchor": "middle" }, short(x)));
  }
  made.append(s("text", { class: "soft", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, xName));
  if (floor !== null) {
    made.append(s("line", { class: "floor", x1: left, x2: width - right, y1: Y(floor), y2: Y(floor) }));
  }
  series.forEach((of, at) => {
    const path = of.points.map((p, k) => `${k ? "L" : "M"}${X(p.x).toFixed(1)} ${Y(p.y).toFixed(1)}`).join("");
    made.append(s("path", { class: `line ${colour(at)}`, d: path }));
    for (const p of of.points) {
      if (p.low !== undefined) made.append(s("line", { class: `range ${colour(at)}`, x1: X(p.x), x2: X(p.x), y1: Y(p.low), y2: Y(p.high) }));
      if (marks) made.append(mark(at, X(p.x), Y(p.y)));
    }
  });
  return made;
}

/**
 * The run over time: a row for each silo, a mark for each record, a line at each student.
 * rows: names; marks: [{row, time, kind, text}]; kinds: {name: shape number}.
 */
export function timeline(width, rows, marks, { about, kinds, clock }) {
  const step = 30, top = 22, bottom = 26, right = 16;
  const left = Math.min(130, 20 + 8 * Math.max(...rows.map((name) => name.length)));
  const height = top + step * rows.length + bottom;
  const times = marks.map((m) => m.time);
  const t0 = Math.min(...times), t1 = Math.max(...times, t0 + 1000);
  const X = (t) => left + 8 + ((t - t0) / (t1 - t0)) * (width - left - right - 8);
  const Y = (row) => top + step * (row + 0.5);
  const made = s("svg", { width, height, role: "img", "aria-label": about });
  rows.forEach((name, row) => {
    const shown = name.length > 14 ? `${name.slice(0, 13)}…` : name;
    made.append(s("text", { x: 0, y: Y(row) + 4 }, shown),
      s("line", { class: "grid", x1: left, x2: width - right, y1: Y(row), y2: Y(row) }));
  });
  let free = -Infinity;
  for (const m of marks.filter((found) => found.kind === "student")) {
    made.append(s("line", { class: "grid", x1: X(m.time), x2: X(m.time), y1: top - 4, y2: height - bottom }));
    const text = m.label ?? "";
    if (X(m.time) - 7 * text.length / 2 > free) {
      made.append(s("text", { class: "soft", x: Math.min(X(m.time), width - right - 3.5 * text.length), y: top - 8, "text-anchor": "middle" }, text));
      free = X(m.time) + 7 * text.length / 2 + 6;
    }
  }
  for (const m of [...marks].sort((a, b) => (a.kind === "student") - (b.kind === "student"))) {
    const dot = mark(kinds[m.kind] ?? 7, X(m.time), Y(m.row), m.kind === "student" ? 6 : 4);
    dot.append(s("title", {}, m.text));
    made.append(dot);
  }
  made.append(s("text", { class: "soft", x: left, y: height - 6 }, clock(t0)),
    s("text", { class: "soft", x: width - right, y: height - 6, "text-anchor": "end" }, clock(t1)));
  return made;
}
