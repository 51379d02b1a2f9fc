// The dialog in which classes are renamed, made one with another, and deleted.

import { byId, colourOf, count, make } from "./dom.js";

/** A name within a sentence: set apart, or letters that run from right to left would take the signs and numbers after it along. */
const quoted = (name) => `“\u2068${name}\u2069”`;

export class Classes {
  constructor(session) {
    this.session = session;
    byId("edit").addEventListener("click", () => this.open());
    byId("editing-close").addEventListener("click", () => byId("editing").close());
    session.addEventListener("state", () => byId("editing").open && this.#list());
  }

  open() {
    byId("editing-trouble").textContent = "";
    this.#list();
    byId("editing").showModal();
  }

  #list() {
    const { classes } = this.session;
    const [list, names] = [byId("editing-list"), JSON.stringify(classes.map(({ name }) => name))];
    if (list.dataset.names !== names) { // or what somebody types would be gone
      list.dataset.names = names;
      list.replaceChildren(...classes.map((entry, number) => this.#row(entry, number)));
    }
    for (const [number, row] of [...list.children].entries()) row.querySelector(".number").textContent = count(classes[number].count);
  }

  #row({ name }, number) {
    // Of 200 of a browser's units 100 letters are never cut off; the server refuses more.
    const field = make("input", { value: name, maxLength: 200, autocomplete: "off", spellcheck: false, ariaLabel: `Name of ${name}`, dataset: { colour: colourOf(number) } });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#rename(name, field.value.trim());
    });
    const rename = make("button", { ariaLabel: `Rename ${name}` }, "Rename");
    rename.addEventListener("click", () => this.#rename(name, field.value.trim()));
    const into = make("select", { ariaLabel: `Merge ${name} into` }, make("option", { value: "" }, "Merge into …"));
    for (const opens of ["pointerdown", "focus"]) into.addEventListener(opens, () => this.#offer(into, name));
    into.addEventListener("change", () => into.value && this.#change(name, into.value));
    const remove = make("button", { ariaLabel: `Delete ${name}` }, "Delete");
    remove.addEventListener("click", () => this.#change(name, ""));
    return make("li", {}, field, make("span", { className: "number" }), rename, into, remove);
  }

  /** Lists the other classes in a row's list when it is used: in all rows at once, a thousand classes would be a million entries. */
  #offer(into, name) {
    if (into.length > 1) return;
    into.append(...this.session.classes.filter((other) => other.name !== name).map((other) => make("option", { value: other.name }, other.name)));
  }

  #rename(name, to) {
    if (to) this.#change(name, to);
    else byId("editing-trouble").textContent = `Give ${quoted(name)} a name, or press Delete.`; // an empty name is what deletes
  }

  async #change(name, to) {
    if (to === name) return;
    byId("editing-trouble").textContent = "";
    const { count: labels } = this.session.classNamed(name);
    const merges = this.session.classNamed(to) !== undefined;
    try {
      await this.session.changeClass(name, to);
      const pictures = `${count(labels)} ${labels === 1 ? "picture" : "pictures"}`;
      const what = !to ? `Deleted ${quoted(name)}; ${pictures} of it ${labels === 1 ? "is" : "are"} open again.` : merges ? `${quoted(name)} is now part of ${quoted(to)} (${pictures}).` : `${quoted(name)} is now called ${quoted(to)}.`;
      byId("editing-trouble").textContent = `${what} The key u takes it back.`;
    } catch (error) {
      byId("editing-trouble").textContent = `${error.message} ${error.remedy ?? ""}`;
    }
  }
}
