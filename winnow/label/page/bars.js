// The bars around the pictures: lanes, filters, progress, classes, the mark that says what is saved.

import { NO_FILTER } from "./desk.js";
import { byId, colourOf, count, make } from "./dom.js";

const SHOWS = { open: "Open", labelled: "Labelled", skipped: "Skipped", all: "All" };
const TYPING = 250; // milliseconds of rest after which a text filter is applied

export class Bars {
  #classes = "";

  constructor(desk, outbox, server, choose) {
    Object.assign(this, { desk, outbox, server, choose });
    byId("run").textContent = desk.run;
    byId("who").value = desk.who;
    byId("who").addEventListener("change", ({ target }) => {
      desk.rename(target.value.trim() || desk.who);
      target.value = desk.who;
    });
    fill("by-group", "Every group", desk.groups);
    byId("by-group").hidden = desk.groups.length < 2;
    byId("shows").append(...Object.entries(SHOWS).map(([show, title]) => this.#segment(title, { show })));
    for (const [id, field] of [["by-class", "label"], ["by-group", "group"]]) {
      byId(id).addEventListener("change", ({ target }) => (target.blur(), this.#filter({ [field]: target.value })));
    }
    let typing;
    byId("by-text").addEventListener("input", ({ target }) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#filter({ text: target.value.trim() }), TYPING);
    });
    byId("no-filter").addEventListener("click", () => this.choose(NO_FILTER));
    for (const field of [byId("who"), byId("by-text")]) {
      field.addEventListener("keydown", (event) => ["Enter", "Escape"].includes(event.key) && field.blur());
    }
    outbox.addEventListener("change", () => this.saved());
    server.addEventListener("reachable", () => this.saved());
  }

  /** Shows everything again; `item` is the one whose class is shown on the buttons. */
  show(item) {
    this.#lanes();
    this.#filters();
    this.#classButtons(item);
    this.#progress();
    this.saved();
  }

  /** Says whether everything is on the server's disk. */
  saved() {
    const [waiting, mark] = [this.outbox.waiting, byId("saved")];
    const { reachable, refusal } = this.server;
    const lost = !reachable || refusal || (waiting > 0 && this.outbox.trouble !== null);
    const state = lost ? "offline" : waiting ? "saving" : "saved";
    const what = refusal ? "Not saving" : reachable ? "Not saved" : "Offline";
    const text = { offline: `${what}, ${waiting ? count(waiting) : "nothing"} waiting`, saving: "Saving", saved: "Saved" }[state];
    if (mark.textContent !== text) mark.textContent = text; // unchanged text is not read out again
    mark.dataset.state = state;
  }

  #filter(changes) {
    const filter = { ...this.desk.filter, ...changes };
    if (changes.label && ["open", "skipped"].includes(filter.show)) filter.show = "labelled"; // what is open has no class
    if (["open", "skipped"].includes(changes.show)) filter.label = "";
    this.choose(filter);
  }

  #segment(title, changes) {
    const button = make("button", { dataset: changes }, title);
    button.addEventListener("click", () => this.#filter(changes));
    return button;
  }

  #lanes() {
    const { desk } = this;
    const focused = document.activeElement.closest("#lanes button")?.dataset.lane;
    const buttons = desk.lanes.filter(({ name, total }) => total || name === desk.filter.lane).map(({ name, title, total, labelled, skipped }) => {
      const button = make("button", { title, dataset: { lane: name }, ariaPressed: String(name === desk.filter.lane) });
      button.append(name[0].toUpperCase() + name.slice(1), make("span", { className: "number" }, count(total - labelled - skipped)));
      button.addEventListener("click", () => this.#filter({ lane: name }));
      return button;
    });
    byId("lanes").replaceChildren(...buttons);
    buttons.find((button) => button.dataset.lane === focused)?.focus();
    document.body.dataset.lane = desk.filter.lane;
    byId("odd-note").hidden = desk.filter.lane !== "odd";
  }

  #filters() {
    const { filter, classes } = this.desk;
    for (const button of byId("shows").children) button.ariaPressed = String(button.dataset.show === filter.show);
    fill("by-class", "Every class", classes.map((entry) => entry.name));
    byId("by-class").value = filter.label;
    byId("by-group").value = filter.group;
    if (document.activeElement !== byId("by-text")) byId("by-text").value = filter.text;
    byId("no-filter").hidden = Object.keys(NO_FILTER).every((field) => filter[field] === NO_FILTER[field]);
  }

  #classButtons(item) {
    const { classes } = this.desk;
    const names = JSON.stringify(classes.map(({ name, key }) => [name, key]));
    if (names !== this.#classes) {
      byId("classes").replaceChildren(...classes.map(({ name, key }, number) =>
        make("button", { className: "class", value: name, dataset: { colour: colourOf(number) } },
          key === null ? "" : make("kbd", {}, key), make("span", { className: "title" }, name), make("span", { className: "number" }))));
      this.#classes = names;
    }
    for (const [number, button] of [...byId("classes").children].entries()) {
      button.querySelector(".number").textContent = count(classes[number].count);
      button.ariaPressed = String(button.value === item?.label);
    }
    byId("find").hidden = classes.every(({ key }) => key !== null);
  }

  #progress() {
    const { labelled, skipped, total } = this.desk.lane();
    const rest = skipped ? `, ${count(skipped)} skipped` : "";
    byId("count").textContent = `${count(labelled)} of ${count(total)} labelled${rest}`;
    Object.assign(byId("bar"), { max: Math.max(total, 1), value: labelled + skipped });
    byId("pace").textContent = this.desk.pace.words(total - labelled - skipped);
  }
}

function fill(id, all, names) {
  const list = byId(id);
  if (list.length === names.length + 1) return; // names are only ever added
  list.replaceChildren(make("option", { value: "" }, all), ...names.map((name) => make("option", { value: name }, name)));
}
