// The dialogs: the list of keys, and the field in which a class is found or added.

import { byId, colourOf, make } from "./dom.js";

const MOST = 8; // classes listed

const KEYS = [
  ["1 … 9, 0", "label with the class on that button"],
  ["Enter", "accept what the model suggests"],
  ["k", "lane Check: keep the label"],
  ["s", "skip"],
  ["u, Ctrl-Z", "undo the last decision of this tab"],
  ["← →", "previous, next picture"],
  ["n", "write a note; Enter saves it, Esc discards it"],
  ["f", "show the whole frame of a crop large, and back"],
  ["/", "find a class by name"],
  ["+", "new class"],
  ["c", "rename, merge or delete classes"],
  ["g", "grid: label many at once; again: back"],
  ["m", "map of all pictures; drag a region to open it as a lane; the wheel or two fingers zoom, Esc shows all"],
  ["PgUp, PgDn, arrows", "map: nearer, farther, move; Enter opens what is seen as a lane"],
  ["l", "next lane"],
  ["lanes Groups, Tracks", "a key labels all that stay ticked, Enter with the class suggested for most; a click unticks; → passes the group over"],
  ["a, Esc", "grid: select the page, select none"],
  ["click, Shift-click", "grid: select one, a range"],
  ["Enter, in groups Shift-Enter", "grid: enlarge the picture"],
  ["PgUp, PgDn", "grid: previous, next page"],
  ["?", "show this help"],
];

export class Help {
  constructor() {
    byId("help-keys").append(...KEYS.flatMap(([keys, what]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, what)]));
    byId("help-open").addEventListener("click", () => this.open());
    byId("help-close").addEventListener("click", () => byId("help").close());
  }

  open() {
    byId("help").showModal();
    byId("help").scrollTop = 0; // the focus is on its last line
  }
}

/** The field for a class's name: `apply` is called with a class that was found; a new one is only added. */
export class Naming {
  #isNew = false;
  #at = 0; // of the class that Enter takes

  constructor(session, apply) {
    Object.assign(this, { session, apply });
    byId("naming-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take();
    });
    byId("naming-text").addEventListener("input", () => this.#list(0));
    byId("naming-text").addEventListener("keydown", (event) => this.#key(event));
    byId("naming-close").addEventListener("click", () => byId("naming").close());
  }

  /** Opens the field to add a class, or to find one. */
  open(isNew) {
    this.#isNew = isNew;
    byId("naming-title").textContent = isNew ? "New class" : "Find a class";
    byId("naming-ok").textContent = isNew ? "Add" : "Apply";
    byId("naming-text").value = "";
    this.#list(0);
    byId("naming").showModal();
    byId("naming-text").focus();
  }

  #found() {
    const text = byId("naming-text").value.trim().toLocaleLowerCase();
    const names = this.session.classes.map(({ name }, number) => ({ name, number, at: name.toLocaleLowerCase().indexOf(text) }));
    const found = names.filter(({ at }) => at >= 0).sort((a, b) => Math.min(a.at, 1) - Math.min(b.at, 1) || a.number - b.number);
    return this.#isNew ? [] : found.slice(0, MOST);
  }

  #list(at) {
    const found = this.#found();
    this.#at = Math.max(0, Math.min(at, found.length - 1));
    byId("naming-found").replaceChildren(...found.map(({ name, number }, place) => {
      const button = make("button", { type: "button", className: "class", dataset: { colour: colourOf(number) } }, make("span", { className: "title" }, name));
      button.ariaPressed = String(place === this.#at);
      button.addEventListener("click", () => this.#choose(name));
      return button;
    }));
    byId("naming-trouble").textContent = this.#isNew || found.length ? "" : "No such class. Press + to add one.";
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || this.#isNew) return;
    event.preventDefault();
    this.#list(this.#at + step);
  }

  async #take() {
    if (!this.#isNew) {
      const found = this.#found()[this.#at];
      return found && this.#choose(found.name);
    }
    try {
      await this.session.addClass(byId("naming-text").value);
      byId("naming").close();
    } catch (error) {
      byId("naming-trouble").textContent = `${error.message} ${error.remedy ?? ""}`;
    }
  }

  #choose(name) {
    byId("naming").close();
    this.apply(name);
  }
}
