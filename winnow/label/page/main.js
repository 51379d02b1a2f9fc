// Joins the parts of the page: what a key or a button does, and what is shown after it.

import { Bars } from "./bars.js";
import { Desk, NO_FILTER } from "./desk.js";
import { Help, Naming } from "./dialogs.js";
import { byId, make } from "./dom.js";
import { Grid } from "./grid.js";
import { One } from "./one.js";
import { Outbox } from "./outbox.js";
import { Pictures } from "./pictures.js";
import { Server, ServerError, takeToken } from "./server.js";

const POLL = 2000; // milliseconds between two looks at what other tabs did
const TOLD = 4000; // milliseconds that a passing sentence stays
const VIEWS = { one: "One", grid: "Grid" };

class Page {
  view = "one";
  #going = false; // whether the next picture is being looked for
  #stalled = false; // whether that failed for want of the server

  constructor(server, state) {
    const outbox = new Outbox(server, state.home);
    const desk = new Desk(server, outbox, state);
    const pictures = new Pictures(server);
    Object.assign(this, { server, outbox, desk });
    this.one = new One(desk, pictures);
    this.grid = new Grid(desk, pictures, (at) => this.#openOne(at));
    this.bars = new Bars(desk, outbox, server, (changes) => this.#try(desk.choose(changes)));
    this.help = new Help();
    this.naming = new Naming(desk, (name) => this.decide("label", name));
    this.#listen();
    this.#buttons();
  }

  async start() {
    byId("desk").hidden = false;
    document.title = `${this.desk.run} – Winnow`;
    this.outbox.send();
    await this.#try(this.desk.choose());
    this.#poll();
  }

  /** Decides on the current picture and goes on, or on the selected ones of the grid. */
  async decide(kind, value = "") {
    const { desk, grid, one } = this;
    if (this.view === "grid") {
      const items = grid.items;
      if (!items.length) return desk.tell("Select pictures first: click, Shift-click, or a for all of this page.");
      if (desk.decide(items, kind, value)) grid.selectNone();
    } else if (one.seen && !this.#going && desk.decide([desk.item], kind, value)) {
      await this.#goOn();
    }
  }

  async #goOn() {
    this.#going = true;
    this.#stalled = !(await this.#try(this.desk.goOn()));
    this.#going = false;
  }

  #listen() {
    const { desk, outbox, server } = this;
    desk.addEventListener("state", () => this.#showBars());
    desk.addEventListener("queue", () => (this.grid.reset(), this.#show()));
    desk.addEventListener("move", () => this.#show());
    desk.addEventListener("items", () => this.#describe());
    desk.addEventListener("told", ({ detail }) => this.#tell(detail));
    desk.addEventListener("refused", ({ detail }) => notice(`A label was refused: ${detail}`, "It was not saved; give it again."));
    outbox.addEventListener("change", () => this.#trouble());
    server.addEventListener("reachable", () => this.#reached());
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("visibilitychange", () => this.#look());
    addEventListener("resize", () => this.view === "grid" && this.#try(this.grid.show()));
  }

  #buttons() {
    byId("classes").addEventListener("click", ({ target }) => {
      const button = target.closest(".class");
      if (button) this.decide("label", button.value);
    });
    byId("skip").addEventListener("click", () => this.decide("skip"));
    byId("undo").addEventListener("click", () => this.#try(this.desk.undo()));
    byId("add").addEventListener("click", () => this.naming.open(true));
    byId("find").addEventListener("click", () => this.naming.open(false));
    byId("views").append(...Object.entries(VIEWS).map(([view, title]) => {
      const button = make("button", { dataset: { view } }, title);
      button.addEventListener("click", () => this.#turnTo(view));
      return button;
    }));
  }

  // ---- keys

  #key(event) {
    const typing = event.target.closest("input, textarea, select") || document.querySelector("dialog[open]");
    if (typing || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (event.ctrlKey && !["z", "a"].includes(event.key)) return;
    const digit = digitOf(event);
    const named = digit && this.desk.classes.find((entry) => entry.key === digit);
    const command = named ? () => this.decide("label", named.name) : this.#command(event);
    if (!command) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow") || event.key.startsWith("Page")) command(); // a held key labels once
  }

  #command({ key, ctrlKey }) {
    const { desk, grid } = this;
    if (ctrlKey && key === "z") return () => this.#try(desk.undo());
    const common = {
      s: () => this.decide("skip"),
      u: () => this.#try(desk.undo()),
      g: () => this.#turnTo(this.view === "one" ? "grid" : "one"),
      l: () => this.#nextLane(),
      "/": () => this.naming.open(false),
      "+": () => this.naming.open(true),
      "?": () => this.help.open(),
    };
    const turn = (way) => () => this.#try(grid.turn(way));
    const views = {
      one: {
        n: () => desk.item && this.one.note(),
        ArrowLeft: () => this.#try(desk.goTo(desk.at - 1)),
        ArrowRight: () => this.#try(desk.goTo(desk.at + 1)),
      },
      grid: {
        a: () => grid.selectAll(),
        Escape: () => grid.selectNone(),
        ArrowLeft: turn(-1), ArrowRight: turn(1), PageUp: turn(-1), PageDown: turn(1),
      },
    };
    return { ...(ctrlKey ? {} : common), ...views[this.view] }[key];
  }

  // ---- what is shown

  #turnTo(view) {
    this.view = view;
    this.#show();
  }

  #openOne(at) {
    this.view = "one";
    this.#try(this.desk.goTo(at));
  }

  #nextLane() {
    const names = this.desk.lanes.filter((lane) => lane.total).map((lane) => lane.name);
    const next = names[(names.indexOf(this.desk.filter.lane) + 1) % names.length];
    this.#try(this.desk.choose({ ...NO_FILTER, lane: next }));
  }

  #show() {
    const { desk, view } = this;
    const empty = view === "one" ? !desk.item : !desk.items.length;
    byId("one").hidden = byId("panel").hidden = view !== "one" || empty;
    byId("grid").hidden = view !== "grid" || empty;
    byId("done").hidden = !empty || !desk.end;
    for (const button of byId("views").children) button.ariaPressed = String(button.dataset.view === view);
    this.#showBars();
    if (view === "one") this.one.show();
    else if (!empty) this.#try(this.grid.show(this.grid.startOf(desk.at)));
    if (empty && desk.end) this.#done();
  }

  #describe() {
    this.#showBars();
    if (this.view === "one") this.one.describe();
    else this.grid.describe();
  }

  #showBars() {
    this.bars.show(this.view === "one" ? this.desk.item : undefined);
  }

  #done() {
    const { desk } = this;
    const { lane, show, label, group, text } = desk.filter;
    const narrow = label || group || text;
    const ways = desk.lanes.filter((other) => other.name !== lane && other.labelled + other.skipped < other.total)
      .map((other) => [`${other.title} (${other.total - other.labelled - other.skipped} open)`, { ...NO_FILTER, lane: other.name }]);
    if (narrow) ways.unshift(["Clear filters", NO_FILTER]);
    else if (show === "open" && desk.lane().total) ways.unshift(["Look at the labelled ones", { show: "labelled" }]);
    const seen = desk.items.length > 0;
    byId("done-title").textContent = seen ? "That was the last one." : narrow ? "No picture fits." : "Nothing here.";
    byId("done-text").textContent = seen ? "Every picture of this list is decided on." : "";
    byId("done-ways").replaceChildren(...ways.map(([title, changes]) => {
      const button = make("button", {}, title);
      button.addEventListener("click", () => this.#try(desk.choose(changes)));
      return button;
    }));
  }

  #tell(text) {
    byId("told").textContent = text;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => (byId("told").textContent = ""), TOLD);
  }

  // ---- the server

  async #try(promise) {
    try {
      await promise;
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #fail(error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.status === 401) lock("This page may not read the run.", "Open the address that winnow label printed.");
    else if (error.status && error.status !== 503) notice(error.message, error.remedy);
    else this.#trouble();
  }

  /** Says what keeps labels from being saved, as long as it does. */
  #trouble() {
    const { outbox, server } = this;
    if (outbox.trouble?.status === 401) return this.#fail(outbox.trouble);
    const gone = !server.reachable && new ServerError("The label server does not answer.",
      "Start it again with winnow label, on the same port. Labels wait in this browser and are sent when it is back.", 0);
    const trouble = server.refusal ?? (gone || (outbox.waiting && outbox.trouble?.status && outbox.trouble));
    if (trouble && byId("trouble")?.dataset.message === trouble.message) return; // the same is not read out again
    byId("trouble")?.remove();
    if (trouble) notice(trouble.message, trouble.remedy, "trouble");
  }

  #reached() {
    this.#trouble();
    if (!this.server.reachable || this.server.refusal) return;
    if (this.#stalled) this.#goOn();
    else if (!this.desk.items.length && !this.desk.end) this.#try(this.desk.choose());
    else if (this.view === "one" || document.querySelector(".cell.missing")) this.#show();
  }

  async #poll() {
    await this.#look();
    setTimeout(() => this.#poll(), POLL);
  }

  async #look() {
    if (!document.hidden) await this.#try(this.desk.follow());
  }
}

/** The digit of a key, also where digits are typed with Shift (as on French keyboards). */
function digitOf(event) {
  if (/^[0-9]$/.test(event.key)) return event.key;
  return event.shiftKey ? null : (/^Digit([0-9])$/.exec(event.code)?.[1] ?? null);
}

function notice(text, remedy, id = "") {
  const close = make("button", { className: "quiet", ariaLabel: "Dismiss" }, "×");
  const shown = make("p", { id, dataset: { message: text } }, make("b", {}, text), ` ${remedy}`, close);
  close.addEventListener("click", () => shown.remove());
  byId("notices").append(shown);
}

function lock(title, text) {
  byId("locked-title").textContent = title;
  byId("locked-text").textContent = text;
  byId("desk").hidden = true;
  byId("locked").hidden = false;
}

async function open() {
  const token = takeToken();
  if (!token) return lock("The start token is missing.", "Open the address that winnow label printed.");
  const server = new Server(token);
  try {
    await new Page(server, await server.get("state")).start();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.status === 401) lock("The start token is wrong.", "Open the address that winnow label printed.");
    else lock(error.message, `${error.remedy} Then reload this page.`);
  }
}

addEventListener("hashchange", () => location.reload()); // a new address pasted into this tab
open();
