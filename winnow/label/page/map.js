// The map of the pool: every picture a point on a canvas. A dragged region is opened as a lane; the wheel, two fingers and keys zoom.

import { apart, byId, count, make } from "./dom.js";

const SIDE = 4095; // largest coordinate
const AGAIN = 700; // milliseconds between two questions whether the map is known
const COLOURS = { label: "Label", prediction: "Prediction", score: "Anomaly score", group: "Group" };
const LISTED = 8; // names in the legend
const NEAREST = 6; // pixels a drag must be long
const MOST = 40; // times as large as the whole
const STEP = 1.5; // by a key

export class PictureMap {
  #points = null;
  #colours = null;
  #by = "label";
  #view = { x: 0, y: 0, scale: 1 }; // the part of the map that is seen
  #from = null; // where a drag began
  #fingers = new Map(); // where each is, by its number
  #asking = false;

  constructor(session, server, open) {
    Object.assign(this, { session, server, open });
    byId("map-by").append(...Object.entries(COLOURS).filter(([value]) => value !== "prediction" || !session.blind).map(([value, title]) => make("option", { value }, title)));
    byId("map-by").addEventListener("change", ({ target }) => {
      this.#by = target.value;
      target.blur();
      this.show();
    });
    const area = byId("map-area");
    area.addEventListener("pointerdown", (event) => this.#begin(event));
    area.addEventListener("pointermove", (event) => this.#drag(event));
    area.addEventListener("pointerup", (event) => this.#end(event));
    area.addEventListener("pointercancel", (event) => this.#cancel(event));
    area.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY / 400), this.#place(event));
    }, { passive: false });
    byId("map-whole").addEventListener("click", () => this.whole());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.show());
    new ResizeObserver(() => this.#draw()).observe(area);
  }

  /** Fetches what is not known yet, and the colours of now, and draws. */
  async show() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (!this.#points && !byId("map").hidden) {
        byId("map-note").textContent = "Drawing the map; for many pictures this takes a minute …";
        const answer = await this.server.get("map");
        if (answer.failure) return (byId("map-note").textContent = answer.failure);
        if (answer.ready) this.#points = { ...answer, x: Uint16Array.from(answer.x), y: Uint16Array.from(answer.y) };
        else await new Promise((resolve) => setTimeout(resolve, AGAIN));
      }
      for (let by = null; by !== this.#by && !byId("map").hidden; ) {
        by = this.#by; // another may be chosen meanwhile
        this.#colours = shaded(await this.server.get(`map/colours?by=${by}`));
        this.#legend();
        this.#draw();
      }
    } finally {
      this.#asking = false;
    }
  }

  /** What keys do while the map is shown. */
  keys() {
    const { clientWidth: width, clientHeight: height } = byId("map-area");
    const [middle, far] = [[width / 2, height / 2], [width / 4, height / 4]];
    const move = (across, down) => () => this.#zoom(1, middle, [-across * far[0], -down * far[1]]);
    return {
      Escape: () => this.whole(),
      PageUp: () => this.#zoom(STEP, middle),
      PageDown: () => this.#zoom(1 / STEP, middle),
      ArrowLeft: move(-1, 0), ArrowRight: move(1, 0), ArrowUp: move(0, -1), ArrowDown: move(0, 1),
      Enter: () => this.#points && this.#open([0, 0], [width, height]),
    };
  }

  /** Shows all of the map again. */
  whole() {
    this.#view = { x: 0, y: 0, scale: 1 };
    this.#draw();
  }

  #draw() {
    const [canvas, area] = [byId("map-canvas"), byId("map-area")];
    const ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(area.clientWidth * ratio), Math.round(area.clientHeight * ratio)];
    if (!this.#points || !this.#colours || !width || !height) return;
    const began = performance.now();
    Object.assign(canvas, { width, height });
    const drawing = canvas.getContext("2d");
    const picture = drawing.createImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    const { x, y } = this.#points;
    const { order, shades } = this.#colours;
    const side = 2 * Math.max(1, Math.round((ratio * (x.length > 20_000 ? 2 : x.length > 2_000 ? 4 : 6)) / 2));
    const [across, down] = [((width - side) * this.#view.scale) / SIDE, ((height - side) * this.#view.scale) / SIDE];
    const [left, top] = [this.#view.x * across - 0.5, this.#view.y * down - 0.5]; // cut off, they are rounded
    for (let place = 0; place < order.length; place += 1) {
      const number = order[place];
      const [column, row] = [x[number] * across - left, y[number] * down - top];
      if (column < 0 || row < 0 || column >= width - side + 1 || row >= height - side + 1) continue;
      let first = (row | 0) * width + (column | 0);
      for (let line = 0; line < side; line += 1, first += width) {
        for (let pixel = first; pixel < first + side; pixel += 1) pixels[pixel] = shades[place];
      }
    }
    drawing.putImageData(picture, 0, 0);
    byId("map-whole").hidden = this.#view.scale === 1;
    canvas.dataset.milliseconds = (performance.now() - began).toFixed(1);
    byId("map-note").textContent = `${count(x.length)} pictures; alike ones lie together. Drag a region to open it as a lane; the wheel or two fingers zoom, Enter opens what is seen.`;
  }

  #legend() {
    const { names, values, scale } = this.#colours;
    const sizes = new Map();
    for (const value of values) sizes.set(value, (sizes.get(value) ?? 0) + 1);
    const titles = this.#by === "group" ? apart(names) : names;
    const first = [...sizes].filter(([value]) => value >= 0).sort((a, b) => b[1] - a[1]);
    const entries = scale
      ? [make("li", {}, `pale: ${scale[0].toPrecision(3)} and less, dark: ${scale[1].toPrecision(3)} and more`)]
      : first.slice(0, LISTED).map(([value, size]) =>
        make("li", { dataset: { colour: String(value % 8) } }, make("span", { className: "name", title: names[value] }, titles[value]), make("span", { className: "number" }, count(size))));
    if (!scale && first.length > LISTED) entries.push(make("li", {}, `${count(first.length - LISTED)} more`));
    if (sizes.get(-1)) entries.push(make("li", {}, make("span", { className: "name" }, "none"), make("span", { className: "number" }, count(sizes.get(-1)))));
    byId("map-legend").replaceChildren(...entries);
  }

  // ---- the pointer

  #place(event) {
    const box = byId("map-area").getBoundingClientRect();
    return [Math.min(Math.max(event.clientX - box.left, 0), box.width), Math.min(Math.max(event.clientY - box.top, 0), box.height)];
  }

  #begin(event) {
    if (event.button || !this.#points) return;
    event.preventDefault();
    byId("map-area").setPointerCapture(event.pointerId);
    const place = this.#place(event);
    if (event.isPrimary) this.#fingers.clear(); // one that was lifted elsewhere
    this.#fingers.set(event.pointerId, place);
    if (this.#fingers.size === 1) this.#from = place;
    else this.#none(); // two fingers zoom
  }

  #drag(event) {
    if (!this.#fingers.has(event.pointerId)) return;
    const to = this.#place(event);
    if (this.#fingers.size === 2) return this.#pinch(event.pointerId, to);
    if (!this.#from) return;
    const [left, right] = [this.#from[0], to[0]].sort((a, b) => a - b);
    const [top, bottom] = [this.#from[1], to[1]].sort((a, b) => a - b);
    Object.assign(byId("map-region").style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    byId("map-region").hidden = false;
  }

  /** Zooms so that what was below each of two fingers stays below it. */
  #pinch(finger, to) {
    const between = () => {
      const [[x, y], [otherX, otherY]] = [...this.#fingers.values()];
      return [(x + otherX) / 2, (y + otherY) / 2, Math.max(1, Math.hypot(x - otherX, y - otherY))];
    };
    const [x, y, distance] = between();
    this.#fingers.set(finger, to);
    const [newX, newY, newDistance] = between();
    this.#zoom(newDistance / distance, [x, y], [newX - x, newY - y]);
  }

  #end(event) {
    const [from, to] = [this.#from, this.#place(event)];
    this.#cancel(event);
    if (from && Math.hypot(to[0] - from[0], to[1] - from[1]) >= NEAREST) this.#open(from, to);
  }

  /** Opens the region between two places of the area as a lane. */
  #open(from, to) {
    const [first, second] = [from, to].map((place) => this.#coordinates(place));
    const [left, right] = [first[0], second[0]].sort((a, b) => a - b);
    const [top, bottom] = [first[1], second[1]].sort((a, b) => a - b);
    this.open([left, top, right, bottom].join(","));
  }

  #cancel({ pointerId }) {
    this.#fingers.delete(pointerId);
    this.#none();
  }

  #none() {
    this.#from = null;
    byId("map-region").hidden = true;
  }

  #coordinates([x, y]) {
    const { clientWidth, clientHeight } = byId("map-area");
    const { scale } = this.#view;
    return [Math.round(this.#view.x + (x / clientWidth) * (SIDE / scale)), Math.round(this.#view.y + (y / clientHeight) * (SIDE / scale))];
  }

  /** Shows so many times as much or as little about a place of the area, and moves it by [x, y] pixels. */
  #zoom(factor, [x, y], [across, down] = [0, 0]) {
    if (!this.#points) return;
    const { clientWidth, clientHeight } = byId("map-area");
    const [before, scale] = [this.#view.scale, Math.min(MOST, Math.max(1, this.#view.scale * factor))];
    const [old, side] = [SIDE / before, SIDE / scale];
    const within = (value) => Math.min(Math.max(value, 0), SIDE - side);
    this.#view = {
      scale,
      x: within(this.#view.x + (x / clientWidth) * (old - side) - (across / clientWidth) * side),
      y: within(this.#view.y + (y / clientHeight) * (old - side) - (down / clientHeight) * side),
    };
    this.#draw();
  }
}

/** Returns the colours of the points with the `order` in which they are drawn, what has no class below, and the pixel of each in that order. */
function shaded(found) {
  const { values, scale } = found;
  const palette = scale ? grades() : kinds();
  const [order, shades] = [new Uint32Array(values.length), new Uint32Array(values.length)];
  let place = 0;
  for (const known of [false, true]) {
    for (let number = 0; number < values.length; number += 1) {
      const value = values[number];
      if (value >= 0 !== known) continue;
      order[place] = number;
      shades[place++] = known ? palette.colours[scale ? value : value % palette.colours.length] : palette.none;
    }
  }
  return { ...found, order, shades };
}

function kinds() {
  const style = getComputedStyle(document.documentElement);
  return { colours: Array.from({ length: 8 }, (_, number) => packed(style.getPropertyValue(`--c${number}`))), none: packed(style.getPropertyValue("--line"), 0.7) };
}

function grades() {
  const colours = Array.from({ length: 256 }, (_, shade) => rgba(240 - 0.5 * shade, 200 - 0.65 * shade, 120 - 0.35 * shade));
  return { colours, none: rgba(127, 127, 127) };
}

/** Returns a colour "#rrggbb" as a pixel of a canvas, darker by a factor. */
function packed(hex, factor = 1) {
  const number = parseInt(hex.trim().slice(1), 16);
  return rgba((number >> 16) * factor, ((number >> 8) & 255) * factor, (number & 255) * factor);
}

function rgba(red, green, blue) {
  return ((255 << 24) | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red)) >>> 0;
}
