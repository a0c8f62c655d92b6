// Charts over the fill, drawn as SVG: four panels on one axis of lumi sections.
// A row is [number, run, lumi section, time s, pileup, rate, pure rate, pure fraction, word in force,
// word decided, in band, target]; null is not known and is a gap.

export const RUN = 1, SECTION = 2, TIME = 3, PILEUP = 4, RATE = 5, PURE_RATE = 6, FRACTION = 7, WORD = 8,
  DECIDED = 9, IN_BAND = 10, TARGET = 11;

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// Places on the axis: lumi sections in a row, also from run to run; missing ones leave their gap.
export function places(rows) {
  let place = 0, before = null;
  return rows.map((row) => {
    place += before === null || row[RUN] !== before[RUN] ? 1 : Math.max(1, row[SECTION] - before[SECTION]);
    before = row;
    return place;
  });
}

export class Charts {
  constructor(holder, onRead) {
    this.holder = holder;
    this.onRead = onRead;
    this.rows = [];
    this.chosen = null;
    new ResizeObserver(() => this.draw()).observe(holder);
    holder.addEventListener("pointermove", (event) => this.point(event));
    holder.addEventListener("pointerleave", () => this.read(null));
    holder.addEventListener("keydown", (event) => this.key(event));
    holder.addEventListener("blur", () => this.read(null));
  }

  show(rows, seed) {
    const chosen = this.chosen === null ? null : this.rows[this.chosen];
    this.rows = rows;
    this.seed = seed;
    this.places = places(rows);
    this.chosen = chosen === null ? null : Math.max(0, rows.findIndex((row) => row[0] === chosen[0]));
    this.draw();
  }

  draw() {
    const width = this.holder.clientWidth, height = this.holder.clientHeight;
    if (!width || !height || !this.seed) return;
    const em = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.left = 4.2 * em;
    this.right = width - 0.6 * em;
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    svg.setAttribute("aria-label", this.summary());
    const axis = 1.5 * em, gap = 1.7 * em;
    const panels = this.panels();
    const free = height - axis - gap * panels.length;
    const total = panels.reduce((sum, panel) => sum + panel.share, 0);
    let top = 0;
    for (const panel of panels) {
      const size = Math.max(10, free * panel.share / total);
      this.panel(svg, panel, top + gap, size, em);
      top += gap + size;
    }
    this.axis(svg, top, height, em);
    if (this.chosen !== null && this.rows.length) {
      const x = this.x(this.places[this.chosen]);
      svg.append(element("line", { class: "cross", x1: x, x2: x, y1: gap, y2: top }));
    }
    this.holder.replaceChildren(svg);
  }

  panels() {
    const target = this.seed.target_hz, steered = this.seed.pure ? PURE_RATE : RATE;
    const list = [{
      title: `${this.seed.pure ? "Pure rate" : "Rate"} and target`, column: steered, share: 2.6,
      range: [0, 2 * target], label: hertz, band: [target * (1 - this.seed.band), target * (1 + this.seed.band)],
      target, dots: true,
    }];
    list.push({ title: "Threshold (score word): in force, and decided", column: WORD, second: DECIDED, share: 1.2,
      label: String, steps: true, round: true });
    list.push({ title: "Pileup", column: PILEUP, share: 1, from: 0, label: (v) => v.toFixed(0) });
    list.push({ title: "Pure fraction", column: FRACTION, share: 1, from: 0, label: (v) => `${(100 * v).toFixed(0)} %` });
    return list;
  }

  panel(svg, panel, top, size, em) {
    const values = this.rows.map((row) => row[panel.column]);
    const range = panel.range ?? extent(values.concat(panel.second ? this.rows.map((row) => row[panel.second]) : []),
      panel.from, panel.round);
    const y = (value) => top + size - size * (value - range[0]) / (range[1] - range[0]);
    const inside = (value) => Math.min(top + size, Math.max(top, y(value)));
    for (const tick of ticks(range, size / (2.3 * em), panel.round)) {
      svg.append(element("line", { class: "grid", x1: this.left, x2: this.right, y1: y(tick), y2: y(tick) }));
      svg.append(element("text", { x: this.left - 0.4 * em, y: y(tick) + 0.3 * em, "text-anchor": "end" }, panel.label(tick)));
    }
    if (panel.band) {
      svg.append(element("rect", { class: "band", x: this.left, width: Math.max(0, this.right - this.left),
        y: y(panel.band[1]), height: y(panel.band[0]) - y(panel.band[1]) }));
      svg.append(element("line", { class: "target", x1: this.left, x2: this.right, y1: y(panel.target), y2: y(panel.target) }));
    }
    if (panel.second) svg.append(element("path", { class: "decided", d: this.path(panel.second, inside, true) }));
    svg.append(element("path", { class: "line", d: this.path(panel.column, inside, panel.steps) }));
    if (panel.dots) this.dots(svg, panel, y, range, top, em);
    svg.append(element("text", { class: "title", x: this.left, y: top - 0.45 * em }, panel.title));
    const last = values.at(-1) ?? null;
    const now = last === null ? "–" : panel.label(last);
    svg.append(element("text", { class: "now", x: this.right, y: top - 0.4 * em }, now));
  }

  // A line with a gap where a lumi section or its value is missing. At more points than pixels, each
  // pixel keeps its extremes, so no excursion is drawn away.
  path(column, y, steps) {
    let text = "", before = null, pixel = null, low = 0, high = 0;
    const flush = () => { if (pixel !== null) text += `L${pixel} ${low.toFixed(1)}L${pixel} ${high.toFixed(1)}`; };
    const dense = this.rows.length > 2 * (this.right - this.left);
    this.rows.forEach((row, index) => {
      const value = row[column];
      if (value === null) { if (dense) flush(); pixel = before = null; return; }
      const x = this.x(this.places[index]), at = y(value);
      const broken = before === null || this.places[index] - before > 1;
      if (dense) {
        const column = Math.round(x);
        if (broken) { flush(); text += `M${column} ${at.toFixed(1)}`; pixel = column; low = high = at; }
        else if (column === pixel) { low = Math.min(low, at); high = Math.max(high, at); }
        else { flush(); pixel = column; low = high = at; }
      } else if (broken) text += `M${x.toFixed(1)} ${at.toFixed(1)}h.01`;
      else text += steps ? `H${x.toFixed(1)}V${at.toFixed(1)}` : `L${x.toFixed(1)} ${at.toFixed(1)}`;
      before = this.places[index];
    });
    if (dense) flush();
    return text.startsWith("L") ? `M${text.slice(1)}` : text;
  }

  // Lumi sections out of band are red; beyond the range they are triangles at its edge.
  dots(svg, panel, y, range, top, em) {
    const size = Math.max(2, Math.min(4, (this.right - this.left) / (this.rows.length + 1) / 2));
    this.rows.forEach((row, index) => {
      const value = row[panel.column];
      if (value === null) return;
      const x = this.x(this.places[index]);
      if (value > range[1]) {
        svg.append(element("path", { class: "outside", d: `M${x} ${top}l${0.35 * em} ${0.6 * em}h${-0.7 * em}z` }));
      } else if (row[IN_BAND] === false) {
        svg.append(element("circle", { class: "outside", cx: x, cy: y(value), r: size }));
      } else if (index === this.rows.length - 1) {
        svg.append(element("circle", { class: "dot", cx: x, cy: y(value), r: 4 }));
      }
    });
  }

  axis(svg, top, height, em) {
    if (!this.rows.length) {
      svg.append(element("text", { x: this.left + em, y: 3.5 * em }, "No lumi section has been recorded yet"));
      return;
    }
    const count = Math.max(2, Math.floor((this.right - this.left) / (9 * em)));
    const step = Math.max(1, Math.ceil(this.rows.length / count));
    for (let index = 0; index < this.rows.length; index += step) {
      const row = this.rows[index], x = this.x(this.places[index]);
      if (x > this.right - 14 * em) break;
      const time = row[TIME] === null ? "" : ` · ${clock(row[TIME])}`;
      svg.append(element("text", { x, y: height - 0.35 * em }, `${row[SECTION]}${time}`));
    }
    const caption = `lumi section${this.rows[0][TIME] === null ? "" : " · UTC"}`;
    svg.append(element("text", { x: this.right, y: height - 0.35 * em, "text-anchor": "end" }, caption));
    this.rows.forEach((row, index) => {
      if (index && row[RUN] !== this.rows[index - 1][RUN]) {
        const x = this.x(this.places[index]);
        svg.append(element("line", { class: "run", x1: x, x2: x, y1: 0, y2: top }));
        svg.append(element("text", { x: x + 0.2 * em, y: 0.9 * em }, `run ${row[RUN]}`));
      }
    });
  }

  x(place) {
    const first = this.places[0], last = Math.max(this.places.at(-1), first + 1);
    return this.left + (this.right - this.left) * (place - first) / (last - first);
  }

  point(event) {
    if (!this.rows.length) return;
    const x = event.clientX - this.holder.getBoundingClientRect().left;
    let best = 0;
    this.places.forEach((place, index) => {
      if (Math.abs(this.x(place) - x) < Math.abs(this.x(this.places[best]) - x)) best = index;
    });
    this.read(best);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -1e9, End: 1e9 }[event.key];
    if (step === undefined || !this.rows.length) return;
    event.preventDefault();
    const from = this.chosen ?? this.rows.length - 1;
    this.read(Math.min(this.rows.length - 1, Math.max(0, from + step)));
  }

  read(index) {
    if (index === this.chosen) return;
    this.chosen = index;
    this.draw();
    this.onRead(index === null ? null : this.rows[index]);
  }

  summary() {
    const last = this.rows.at(-1);
    if (!last) return `${this.seed.name}: nothing recorded yet`;
    const inBand = this.rows.filter((row) => row[IN_BAND] === true).length;
    const known = this.rows.filter((row) => row[IN_BAND] !== null).length;
    return `${this.seed.name}, ${this.rows.length} lumi sections: in band in ${inBand} of ${known}; ${reading(last)}`;
  }
}

export function reading(row) {
  const parts = [`run ${row[RUN]}, lumi section ${row[SECTION]}`];
  if (row[TIME] !== null) parts.push(`${clock(row[TIME])} UTC`);
  parts.push(row[RATE] === null ? "rate not known" : `rate ${hertz(row[RATE])}`);
  if (row[PURE_RATE] !== null) parts.push(`pure ${hertz(row[PURE_RATE])}`);
  parts.push(`target ${hertz(row[TARGET])}`, `threshold ${row[WORD] ?? "not known"} in force, ${row[DECIDED]} decided`);
  parts.push(row[PILEUP] === null ? "pileup not known" : `pileup ${row[PILEUP].toFixed(1)}`);
  return parts.join(" · ");
}

export function hertz(value) {
  if (value >= 100000) return `${(value / 1000).toFixed(0)} kHz`;
  if (value >= 10000) return `${(value / 1000).toFixed(1)} kHz`;
  return `${value < 10 && value > 0 ? value.toFixed(1) : value.toFixed(0)} Hz`;
}

export function clock(time) {
  return new Date(1000 * time).toISOString().slice(11, 16);
}

function extent(values, from, round) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return [0, 1];
  let low = from ?? Math.min(...known), high = Math.max(...known);
  const margin = Math.max((high - low) * 0.08, round ? 5 : 1e-3);
  if (from === undefined) low -= margin;
  return [low, high + margin];
}

// About `count` round numbers in the range, and two where it has them: one says nothing of the scale.
function ticks([low, high], count, round) {
  const rough = (high - low) / Math.max(2, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const sizes = [0.2, 0.5, 1, 2, 5, 10].map((factor) => factor * power).filter((size) => !round || size >= 1);
  const steps = sizes.filter((size) => size < rough).reverse();
  const larger = sizes.find((size) => size >= rough);
  let list = [];
  for (const step of larger ? [larger, ...steps] : [1]) {
    list = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9 * step; tick += step) list.push(tick);
    if (list.length > 1) break;
  }
  return list;
}
