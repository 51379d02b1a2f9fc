// The model's suggestion for the picture that is shown, or for each of a page: asked for ahead of it, and the same as long as it is
// shown, for what changes under a finger is accepted by mistake.

import { byId, colourOf, make } from "./dom.js";
import { isOpen } from "./session.js";

const AHEAD = 8; // pictures whose suggestions are known before they are shown
const LISTED = 100; // of labels to be checked

/** Shows suggestions, and what the model is worth; `seen` says what a person saw who decides. Dispatches "page" when a page's became known. */
export class Suggest extends EventTarget {
  #lane = "";
  #known = new Map(); // row to suggestion, null where there is none
  #shown = { row: null, suggestion: undefined }; // undefined: not known yet
  #page = new Map(); // row to suggestion of each picture of the page that is shown, null where there is none yet
  #about = { says: "", accuracy: null, labels: 0, blind: false };
  #busy = false;

  constructor(session, server) {
    super();
    Object.assign(this, { session, server });
    session.addEventListener("move", () => this.ask());
  }

  /** The class that is suggested for the current picture, and its probability; null where nothing is. */
  get offered() {
    const { row, suggestion } = this.#shown;
    return row !== null && row === this.session.item?.row ? (suggestion ?? null) : null;
  }

  /** What a person sees of it, as it is kept with the label. */
  get seen() {
    return this.#kept(this.offered);
  }

  /** Takes note of which items are shown together; those that were shown before keep what was suggested for them. */
  showPage(items) {
    if (!items.length && !this.#page.size) return;
    this.#page = new Map(items.map(({ row }) => [row, this.#page.get(row) ?? null]));
    if (items.length) this.ask();
  }

  /** The suggestion that is shown for an item of the page, null where there is none. */
  of(item) {
    const decided = !isOpen(item) && this.session.filter.lane !== "check";
    return (!decided && this.#page.get(item.row)) || null;
  }

  /** What a person sees of the suggestions for some items of the page: a line each, or one for all where it is the same. */
  seenOf(items) {
    const lines = items.map((item) => this.#kept(this.of(item)));
    return new Set(lines).size === 1 ? lines[0] : lines.join("\n");
  }

  /** The class that is suggested for more than half of some items of the page, and for how many; null where there is none. */
  most(items) {
    const counts = new Map();
    for (const item of items) if (this.of(item)) counts.set(this.of(item).class, (counts.get(this.of(item).class) ?? 0) + 1);
    const found = [...counts].find(([, times]) => 2 * times > items.length);
    return found ? { class: found[0], times: found[1] } : null;
  }

  /** Asks what is suggested for the page, or from the current picture on; while one question is under way, nothing. */
  async ask() {
    if (this.#busy) return;
    this.#busy = true;
    const { at, items, filter } = this.session;
    const [page, checking] = [this.#page, filter.lane === "check"]; // what is listed there stays so, though the model may have changed its mind meanwhile
    const ahead = () => items.slice(at, at + (checking ? LISTED : AHEAD)).map((item) => item.row);
    const rows = page.size ? [...page.keys()].filter((row) => !page.get(row)) : ahead();
    try {
      const answer = await this.server.get(`live?${new URLSearchParams({ lane: filter.lane, rows })}`);
      this.#about = answer;
      const check = this.session.lane("check");
      if (check && check.total !== answer.check) {
        check.total = answer.check;
        this.session.dispatchEvent(new Event("state"));
      }
      if (filter.lane !== this.#lane) this.#known.clear();
      this.#lane = filter.lane;
      for (const row of rows) this.#known.set(row, answer.suggestions[row] ?? (checking ? this.#known.get(row) : null) ?? null);
      for (const row of rows) if (this.#page.has(row)) this.#page.set(row, this.#page.get(row) ?? this.#known.get(row));
    } catch {
      // without the server there are no suggestions; the page says that it is away
    }
    this.#busy = false;
    if (page !== this.#page) return this.ask(); // another page was turned to meanwhile
    this.show(this.session.item);
    if (page.size) this.dispatchEvent(new Event("page"));
  }

  /** Shows what is suggested for an item, nothing in the grid. */
  show(item) {
    if (item?.row !== this.#shown.row) this.#shown = { row: item?.row ?? null, suggestion: undefined };
    if (item && this.#shown.suggestion === undefined && this.session.filter.lane === this.#lane) {
      this.#shown.suggestion = this.#known.get(item.row);
    }
    this.#mark();
    const offered = this.offered;
    const named = this.session.classes.findIndex((entry) => entry.name === offered?.class);
    byId("accept").hidden = byId("accept-sure").hidden = !offered;
    byId("keep").hidden = !offered || this.session.filter.lane !== "check";
    byId("learnt").textContent = this.#words();
    if (!offered) return;
    byId("accept").dataset.colour = colourOf(Math.max(named, 0));
    byId("accept-class").textContent = offered.class;
    byId("accept-sure").textContent = sure(offered.probability);
  }

  #mark() {
    for (const button of byId("classes").children) button.toggleAttribute("data-suggested", button.value === this.offered?.class);
  }

  #kept(suggestion) {
    const check = this.session.filter.lane === "check" ? "check " : "";
    return suggestion ? `${check}${suggestion.probability} ${suggestion.class}` : "none";
  }

  #words() {
    const { says, accuracy, labels, blind } = this.#about;
    if (says) return says;
    if (!labels) return "";
    const percent = (share) => Math.round(100 * share);
    const late = !this.offered && this.#known.get(this.#shown.row); // it came while the picture was shown, which stays as it is
    const first = blind ? "Suggestions are hidden. " : late ? "Suggestions begin with the next picture. " : "";
    if (!accuracy) return first;
    const { right, of, low, high } = accuracy;
    return `${first}Right so far: ${percent(right / of)} % (${percent(low)}–${percent(high)} %) of ${of} pictures drawn at random`;
  }
}

function sure(probability) {
  return probability > 0.99 ? "over 99 % sure" : `${Math.round(100 * probability)} % sure`;
}

/** Writes on a small picture what is suggested for it, or nothing. */
export function guess(cell, suggestion, session) {
  const share = suggestion ? `${suggestion.probability > 0.99 ? ">99" : Math.round(100 * suggestion.probability)} %` : "";
  let chip = cell.querySelector(".guess");
  if (!chip) cell.append((chip = make("span", { className: "guess" })));
  chip.replaceChildren(...(share ? [make("span", {}, suggestion.class), ` ${share}`] : [])); // a long name is cut, the number never
  cell.ariaDescription = chip.textContent;
  chip.dataset.colour = colourOf(Math.max(session.classes.findIndex(({ name }) => name === suggestion?.class), 0));
}
