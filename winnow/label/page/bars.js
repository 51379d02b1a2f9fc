// The bars around the pictures: lanes, filters, progress, classes, the mark that shows what is saved.

import { apart, byId, colourOf, count, make } from "./dom.js";
import { NO_FILTER } from "./session.js";

const SHOWS = { open: "Open", labelled: "Labelled", skipped: "Skipped", all: "All" };
const TYPING = 250; // milliseconds of rest after which a text filter is applied

export class Bars {
  #classes = "";

  constructor(session, outbox, server, choose) {
    Object.assign(this, { session, outbox, server, choose });
    byId("run").textContent = session.run;
    byId("who").value = session.who;
    byId("who").addEventListener("change", ({ target }) => {
      session.rename(target.value.trim() || session.who);
      target.value = session.who;
    });
    fill("by-group", "All groups", session.groups, apart(session.groups));
    byId("by-group").hidden = session.groups.length < 2;
    byId("shows").append(...Object.entries(SHOWS).map(([show, title]) => this.#segment(title, { show })));
    for (const [id, field] of [["by-class", "label"], ["by-group", "group"]]) {
      byId(id).addEventListener("change", ({ target }) => (target.blur(), this.#filter({ [field]: target.value })));
    }
    let typing;
    byId("by-text").addEventListener("input", ({ target }) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#filter({ text: target.value.trim() }), TYPING);
    });
    byId("no-filter").addEventListener("click", () => this.choose(this.#usual));
    for (const field of [byId("who"), byId("by-text")]) {
      field.addEventListener("keydown", (event) => ["Enter", "Escape"].includes(event.key) && field.blur());
    }
    outbox.addEventListener("change", () => this.saved());
    server.addEventListener("reachable", () => this.saved());
  }

  /** Redraws the bars; the buttons show the class of `item`. */
  show(item) {
    this.#lanes();
    this.#filters();
    this.#classButtons(item);
    this.#progress();
    this.saved();
  }

  /** Shows whether everything is on the server's disk. */
  saved() {
    const [waiting, mark] = [this.outbox.waiting, byId("saved")];
    const { reachable, refusal } = this.server;
    const lost = !reachable || refusal || (waiting > 0 && this.outbox.trouble !== null);
    const state = lost ? "offline" : waiting ? "saving" : "saved";
    const problem = refusal ? "Not saving" : reachable ? "Not saved" : "Offline";
    const text = { offline: problem + (waiting ? `, ${count(waiting)} waiting` : ""), saving: "Saving", saved: "Saved" }[state];
    if (mark.textContent !== text) mark.textContent = text; // unchanged text is not read out again
    mark.dataset.state = state;
  }

  #filter(changes) {
    const filter = { ...this.session.filter, ...changes };
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
    const { session } = this;
    const focused = document.activeElement.closest("#lanes button")?.dataset.lane;
    const buttons = session.lanes.filter(({ name, total }) => total !== 0 || name === session.filter.lane).map(({ name, title, total, labelled, skipped }) => {
      const button = make("button", { title, dataset: { lane: name }, ariaPressed: String(name === session.filter.lane) });
      button.append(name[0].toUpperCase() + name.slice(1), make("span", { className: "number" }, total === null ? "…" : count(total - labelled - skipped)));
      button.addEventListener("click", () => this.#filter({ lane: name, part: "" }));
      return button;
    });
    byId("lanes").replaceChildren(...buttons);
    if (document.body.dataset.lane !== session.filter.lane) {
      buttons.find((button) => button.ariaPressed === "true")?.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a narrow page
    }
    buttons.find((button) => button.dataset.lane === focused)?.focus();
    document.body.dataset.lane = session.filter.lane;
    byId("outliers-note").hidden = session.filter.lane !== "outliers";
  }

  #filters() {
    const { filter, classes } = this.session;
    for (const button of byId("shows").children) button.ariaPressed = String(button.dataset.show === filter.show);
    fill("by-class", "All classes", classes.map((entry) => entry.name));
    byId("by-class").value = filter.label;
    byId("by-group").value = filter.group;
    if (document.activeElement !== byId("by-text")) byId("by-text").value = filter.text;
    const usual = this.#usual;
    byId("no-filter").hidden = Object.keys(NO_FILTER).every((field) => filter[field] === usual[field]);
  }

  /** The filters of a lane where nothing is narrowed. */
  get #usual() {
    return this.session.filter.lane === "check" ? { ...NO_FILTER, show: "labelled" } : NO_FILTER;
  }

  #classButtons(item) {
    const { classes } = this.session;
    const names = JSON.stringify(classes.map(({ name, key }) => [name, key]));
    if (names !== this.#classes) {
      byId("classes").replaceChildren(...classes.map(({ name, key }, number) =>
        make("button", { className: "class", value: name, title: name, dataset: { colour: colourOf(number) } },
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
    const { labelled, skipped, total: known } = this.session.lane();
    const total = known ?? 0; // of groups that are being looked for
    const rest = skipped ? `, ${count(skipped)} skipped` : "";
    const checking = this.session.filter.lane === "check";
    byId("count").textContent = known === null ? "" : checking ? `${count(total)} to check` : `${count(labelled)} of ${count(total)} labelled${rest}`;
    Object.assign(byId("bar"), { max: Math.max(total, 1), value: labelled + skipped });
    byId("pace").textContent = this.session.pace.words(total - labelled - skipped);
  }
}

function fill(id, all, names, titles = names) {
  const list = byId(id);
  const shown = JSON.stringify(names);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(make("option", { value: "" }, all), ...names.map((name, number) => make("option", { value: name }, titles[number])));
}
