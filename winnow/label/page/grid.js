// Many pictures at once: a page of the queue, with some of them selected.

import { byId, count, make } from "./dom.js";
import { mark } from "./one.js";
import { remark } from "./pictures.js";
import { isOpen } from "./session.js";
import { guess } from "./suggest.js";

const MOST = 500; // pictures of a page: an act names no more

export class Grid {
  start = 0; // of the page in the queue
  selected = new Set(); // rows
  grouped = () => false; // whether a page is a group, all of it selected at first
  #anchor = 0; // where a range begins
  #ticked = null; // start of the page that was selected as a whole
  #cells = [];
  #from = 0; // position of the first cell: while a page is turned the one before is still shown

  constructor(session, pictures, suggest, open) {
    Object.assign(this, { session, pictures, suggest, open });
    suggest.addEventListener("page", () => this.describe());
    const cells = byId("cells");
    cells.addEventListener("click", (event) => this.#click(event));
    cells.addEventListener("dblclick", (event) => this.#open(event));
    cells.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.shiftKey || !this.grouped())) this.#open(event); // in a group Enter accepts
    });
    byId("select-all").addEventListener("click", () => this.selectAll());
    byId("select-none").addEventListener("click", () => this.selectNone());
    byId("page-back").addEventListener("click", () => this.turn(-1));
    byId("page-on").addEventListener("click", () => this.turn(1));
  }

  /** The selected items that are visible, in the order of the page. */
  get items() {
    return this.#cells.filter((cell) => this.#takes(cell)).map((cell) => cell.item);
  }

  /** Whether every picture of the page is visible, or cannot be. */
  get seen() {
    return this.#cells.length > 0 && this.#cells.every((cell) => cell.ariaBusy !== "true");
  }

  /** How many pictures fit on a page now; after the window changed, or a notice appeared, another number may be shown. */
  get size() {
    const { rows, columns } = this.#shape();
    return Math.min(MOST, rows * columns);
  }

  /** Returns the start of the page with a position of the queue, or of the last page; the page shown stays where it holds that position. */
  startOf(at) {
    if (at >= this.start && at < this.start + this.#cells.length) return this.start;
    const place = Math.min(at, this.session.items.length - 1);
    return place - (place % this.size);
  }

  /** Shows the page that starts at a position of the queue. */
  async show(start = this.start) {
    this.start = start;
    const { session, size } = this;
    await session.load(start + size + 1);
    if (start !== this.start) return; // turned again meanwhile
    this.#anchor = 0;
    this.#from = start;
    byId("cells").style.gridTemplateRows = `repeat(${this.#shape().rows}, 1fr)`;
    this.#cells = session.items.slice(start, start + size).map((item, number) => this.#cell(item, number));
    byId("cells").replaceChildren(...this.#cells);
    this.suggest.showPage(this.#shown);
    const fresh = this.grouped() && this.#ticked !== start;
    if (fresh) this.#ticked = start;
    this.selected = new Set(this.#shown.filter((item) => (fresh ? isOpen(item) : this.selected.has(item.row))).map((item) => item.row)); // what is not shown is not selected
    byId("page-back").disabled = start === 0;
    byId("page-on").disabled = start + size >= session.items.length;
    this.describe();
  }

  /** Redraws the items' labels, what is suggested, and which are selected. */
  describe() {
    for (const cell of this.#cells) {
      cell.ariaPressed = String(this.#takes(cell));
      mark(cell, cell.item, this.session);
      guess(cell, this.suggest.of(cell.item), this.session);
    }
    const last = this.#from + this.#cells.length;
    const places = this.#cells.length ? `${count(this.#from + 1)}–${count(last)} of ${count(Math.max(this.session.total, last))}` : "";
    const { offered, items } = this;
    byId("range").textContent = items.length ? `${places} · ${items.length} selected` : places;
    byId("accept-most").hidden = !offered;
    byId("accept-most-class").textContent = offered?.class ?? "";
    byId("accept-most-times").textContent = offered ? `${offered.times} of ${items.length}` : "";
  }

  /** What is suggested for most of a group's ticked pictures: a class, and for how many; null elsewhere. */
  get offered() {
    return this.grouped() ? this.suggest.most(this.items) : null;
  }

  /** Turns the page, on (1) or back (-1); returns whether there was one to turn to. */
  async turn(way) {
    const start = Math.max(0, way > 0 ? this.start + this.#cells.length : this.start - this.size);
    await this.session.load(start + 1);
    if (start === this.start || start >= this.session.items.length) return false;
    this.start = start;
    await this.session.goTo(start);
    return true;
  }

  /** Starts again, with another queue. */
  reset() {
    this.start = 0;
    this.#cells = [];
    this.#ticked = null;
    this.suggest.showPage([]);
  }

  selectAll() {
    this.#select(this.#shown);
  }

  selectNone() {
    this.#select([]);
  }

  #select(items) {
    this.selected = new Set(items.map((item) => item.row));
    this.describe();
  }

  /** Returns how many rows and columns of cells fit. */
  #shape() {
    const { clientWidth, clientHeight } = byId("cells");
    const style = getComputedStyle(byId("cells"));
    const [side, gap] = [parseFloat(style.getPropertyValue("--cell")), parseFloat(style.rowGap)];
    const fit = (room) => Math.max(1, Math.floor((room - 2 * parseFloat(style.paddingTop) + gap) / (side + gap)));
    return { rows: fit(clientHeight), columns: fit(clientWidth) };
  }

  /** Whether a key labels the picture of a cell: it is selected, and can be seen. */
  #takes(cell) {
    return this.selected.has(cell.item.row) && !cell.classList.contains("missing");
  }

  get #shown() {
    return this.#cells.map((cell) => cell.item);
  }

  #cell(item, number) {
    const picture = make("img", { alt: "", draggable: false });
    const cell = make("button", { className: "cell", item, title: item.name, ariaLabel: item.name, dataset: { number } }, picture);
    const fill = ({ url, original }) => {
      picture.src = url;
      cell.dataset.original = original;
      cell.title = [item.name, remark(original)].filter(Boolean).join(": ");
    };
    cell.ariaBusy = "true";
    const lost = () => (cell.classList.add("missing"), this.describe());
    this.pictures.get(item.row, "small").then(fill, lost).finally(() => (cell.ariaBusy = "false"));
    return cell;
  }

  #click(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const number = Number(cell.dataset.number);
    if (event.shiftKey) {
      const [first, last] = [this.#anchor, number].sort((a, b) => a - b);
      for (const { item } of this.#cells.slice(first, last + 1)) this.selected.add(item.row);
    } else {
      this.#anchor = number;
      if (!this.selected.delete(cell.item.row)) this.selected.add(cell.item.row);
    }
    this.describe();
  }

  #open(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    event.preventDefault();
    event.stopPropagation();
    this.open(this.#from + Number(cell.dataset.number));
  }
}
