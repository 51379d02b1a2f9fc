// The model's suggestion for the picture that is shown: asked for ahead of it, and the same as long as it is shown, for what
// changes under a finger is accepted by mistake.

import { byId, colourOf, make } from "./dom.js";

const AHEAD = 8; // pictures whose suggestions are known before they are shown
const LISTED = 100; // of labels to be checked

/** Shows suggestions, and what the model is worth; `seen` says what a person saw who decides. */
export class Suggest {
  #lane = "";
  #known = new Map(); // row to suggestion, null where there is none
  #shown = { row: null, suggestion: undefined }; // undefined: not known yet
  #about = { says: "", accuracy: null, labels: 0, blind: false };
  #busy = false;

  constructor(session, server) {
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
    const check = this.session.filter.lane === "check" ? "check " : "";
    return this.offered ? `${check}${this.offered.probability} ${this.offered.class}` : "none";
  }

  /** Asks what is suggested for the pictures from the current one on; while one question is under way, nothing. */
  async ask() {
    if (this.#busy) return;
    this.#busy = true;
    const { at, items, filter } = this.session;
    const checking = filter.lane === "check"; // what is listed there stays so, though the model may have changed its mind meanwhile
    const rows = items.slice(at, at + (checking ? LISTED : AHEAD)).map((item) => item.row);
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
    } catch {
      // without the server there are no suggestions; the page says that it is away
    }
    this.#busy = false;
    this.show(this.session.item);
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

  #words() {
    const { says, accuracy, labels, blind } = this.#about;
    if (says) return says;
    if (!labels) return "";
    const percent = (share) => Math.round(100 * share);
    const hidden = blind ? "Suggestions are hidden. " : "";
    if (!accuracy) return hidden;
    const { right, of, low, high } = accuracy;
    return `${hidden}Right so far: ${percent(right / of)} % (${percent(low)}–${percent(high)} %) of ${of} pictures drawn at random`;
  }
}

function sure(probability) {
  return probability > 0.99 ? "over 99 % sure" : `${Math.round(100 * probability)} % sure`;
}
