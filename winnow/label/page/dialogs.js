// What opens above the page: the keys, and the field in which a class is found or made.

import { byId, colourOf, make } from "./dom.js";

const MOST = 8; // classes listed

const KEYS = [
  ["1 … 9, 0", "give the class on the button"],
  ["s", "skip"],
  ["u, Ctrl-Z", "undo the last decision of this tab"],
  ["← →", "the picture before, the next one"],
  ["n", "write a note; Enter keeps it, Esc does not"],
  ["/", "find a class by its name"],
  ["+", "new class"],
  ["g", "grid: label many at once, and back"],
  ["l", "the next lane"],
  ["a, Esc", "grid: select the page, select none"],
  ["click, Shift-click", "grid: select one, a range"],
  ["Enter", "grid: show the picture large"],
  ["PgUp, PgDn", "grid: turn the page"],
  ["?", "this help"],
];

export class Help {
  constructor() {
    byId("help-keys").append(...KEYS.flatMap(([keys, what]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, what)]));
    byId("help-open").addEventListener("click", () => this.open());
    byId("help-close").addEventListener("click", () => byId("help").close());
  }

  open() {
    byId("help").showModal();
  }
}

/** A field to type a class's name: `give` is called with a class that was found, one that is new is only made. */
export class Naming {
  #isNew = false;
  #at = 0; // of the class that Enter takes

  constructor(desk, give) {
    Object.assign(this, { desk, give });
    byId("naming-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take();
    });
    byId("naming-text").addEventListener("input", () => this.#list(0));
    byId("naming-text").addEventListener("keydown", (event) => this.#key(event));
    byId("naming-close").addEventListener("click", () => byId("naming").close());
  }

  /** Opens it to make a class, or to find one. */
  open(isNew) {
    this.#isNew = isNew;
    byId("naming-title").textContent = isNew ? "Name of the new class" : "Find a class";
    byId("naming-ok").textContent = isNew ? "Make it" : "Give it";
    byId("naming-text").value = "";
    this.#list(0);
    byId("naming").showModal();
    byId("naming-text").focus();
  }

  #found() {
    const text = byId("naming-text").value.trim().toLocaleLowerCase();
    const names = this.desk.classes.map(({ name }, number) => ({ name, number, at: name.toLocaleLowerCase().indexOf(text) }));
    const found = names.filter(({ at }) => at >= 0).sort((a, b) => Math.min(a.at, 1) - Math.min(b.at, 1) || a.number - b.number);
    return this.#isNew ? [] : found.slice(0, MOST);
  }

  #list(at) {
    const found = this.#found();
    this.#at = Math.max(0, Math.min(at, found.length - 1));
    byId("naming-found").replaceChildren(...found.map(({ name, number }, place) => {
      const button = make("button", { type: "button", className: "class", dataset: { colour: colourOf(number) } }, make("span", { className: "title" }, name));
      button.ariaPressed = String(place === this.#at);
      button.addEventListener("click", () => this.#give(name));
      return button;
    }));
    byId("naming-trouble").textContent = this.#isNew || found.length ? "" : "No class has this in its name. The key + makes a new one.";
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
      return found && this.#give(found.name);
    }
    try {
      await this.desk.addClass(byId("naming-text").value);
      byId("naming").close();
    } catch (error) {
      byId("naming-trouble").textContent = `${error.message} ${error.remedy ?? ""}`;
    }
  }

  #give(name) {
    byId("naming").close();
    this.give(name);
  }
}
