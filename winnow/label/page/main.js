// Joins the parts of the page: what each key and button does, and what is shown afterwards.

import { Bars } from "./bars.js";
import { Classes } from "./classes.js";
import { Help, Naming } from "./dialogs.js";
import { byId, make } from "./dom.js";
import { Grid } from "./grid.js";
import { Groups } from "./groups.js";
import { PictureMap } from "./map.js";
import { One } from "./one.js";
import { Outbox, itemsOf, keysOf } from "./outbox.js";
import { Pictures } from "./pictures.js";
import { Server, ServerError, takeToken } from "./server.js";
import { NO_FILTER, Session, isOpen } from "./session.js";
import { Suggest } from "./suggest.js";

const POLL = 2000; // milliseconds between two requests for what other tabs did
const MESSAGE = 4000; // milliseconds for which a message stays
const HOME = "winnow home"; // key of what tells this tab's run from others
const VIEWS = { one: "One", grid: "Grid", map: "Map" };

class Page {
  view = "one";
  #going = false; // whether the next picture is being fetched
  #stalled = null; // what failed because the server could not be reached
  #usual = "one"; // the view of lanes without groups
  #acting = 0; // commands that are not shown yet

  constructor(server, state) {
    const outbox = new Outbox(server, state.home);
    const session = new Session(server, outbox, state);
    const pictures = new Pictures(server);
    Object.assign(this, { server, outbox, session });
    this.one = new One(session, pictures);
    this.suggest = new Suggest(session, server);
    this.grid = new Grid(session, pictures, this.suggest, (at) => this.#openOne(at));
    this.groups = new Groups(session, server);
    this.grid.grouped = () => this.groups.has();
    this.bars = new Bars(session, outbox, server, (changes) => this.#choose(changes));
    this.map = new PictureMap(session, server, (part) => this.#choose({ ...NO_FILTER, lane: "region", part }));
    this.help = new Help();
    this.classes = new Classes(session);
    this.naming = new Naming(session, (name) => this.decide("label", name));
    this.#listen();
    this.#buttons();
  }

  async start() {
    byId("app").hidden = false;
    document.title = `${this.session.run} – Winnow`;
    this.outbox.send();
    const { lane, part } = this.session.filter;
    if (this.groups.has()) this.view = "grid";
    await (this.groups.has() ? this.#choose({ lane, part }) : this.#act(this.session.choose()));
    this.#poll();
  }

  /** Labels, skips or clears the current picture and goes on; in the grid, the selected ones. */
  async decide(kind, value = "") {
    const { session, grid, one } = this;
    if (this.view === "map") return session.tell("Drag a region of the map first.");
    if (this.view === "grid") {
      const items = grid.items;
      if (!items.length) return session.tell(grid.selected.size ? "A picture that cannot be shown is not labelled." : "Select pictures first: click, Shift-click, or press a for the whole page.");
      if (this.groups.has() && this.#going) return;
      if (this.groups.has() && !grid.seen) return session.tell("Some of these pictures are still loading.");
      if (!session.decide(items, kind, value, this.suggest.seenOf(items))) return;
      grid.selectNone();
      if (this.groups.has()) await this.#goOn(() => this.#nextGroup());
    } else if (one.seen && !this.#going && session.decide([session.item], kind, value, this.suggest.seen)) {
      one.leave();
      await this.#goOn(() => session.goOn());
    }
  }

  /** Gives the current picture the class that is suggested; a group's ticked ones that of most of them. */
  accept() {
    const { offered } = this.view === "grid" ? this.grid : this.suggest;
    if (offered) this.decide("label", offered.class);
  }

  /** Keeps a label that the model contradicts. */
  keep() {
    if (this.session.filter.lane === "check" && this.session.item?.label) this.decide("label", this.session.item.label);
  }

  async #goOn(go) {
    this.#going = true;
    this.#stalled = (await this.#act(go())) ? null : go;
    this.#going = false;
  }

  /** Goes to the rest of a group, or to the next one. */
  async #nextGroup() {
    if (!(await this.grid.turn(1))) await this.groups.next();
  }

  /** Shows another queue: of a lane, of a part of it, with other filters. */
  #choose(changes) {
    const { session, groups } = this;
    const [from, to] = [groups.has(), groups.has(changes.lane)];
    if (this.view === "map" && changes.lane) this.view = "grid"; // it is of no lane
    if (changes.lane === "region") session.addRegion();
    if (to && !from) [this.view, this.#usual] = ["grid", this.view];
    else if (from && !to) this.view = changes.lane === "region" ? "grid" : this.#usual;
    if (to && changes.lane) return this.#act(groups.enter(changes.lane, changes.part));
    groups.leave();
    return this.#act(session.choose(changes));
  }

  #listen() {
    const { session, outbox, server } = this;
    session.addEventListener("state", () => this.#showBars());
    session.addEventListener("queue", () => {
      if (this.groups.resume(session.filter.lane) && this.view !== "grid") [this.view, this.#usual] = ["grid", this.view]; // by undo
      this.grid.reset();
      this.#show();
    });
    session.addEventListener("move", () => this.#show());
    session.addEventListener("renewed", () => this.#choose(this.groups.has() ? { lane: session.filter.lane, part: session.filter.part } : {}));
    session.addEventListener("items", () => this.#describe());
    session.addEventListener("message", ({ detail }) => this.#tell(detail));
    session.addEventListener("refused", ({ detail: { reason, what } }) => notice(`A label was refused: ${reason}`, `It was not saved; label ${what} again.`));
    outbox.addEventListener("change", () => this.#trouble());
    server.addEventListener("reachable", () => this.#reached());
    server.addEventListener("expired", () => lockExpired());
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("click", ({ detail }) => detail && document.activeElement.closest("#app button:not(.cell, .explained)")?.blur()); // of a mouse: Enter would press it again
    document.addEventListener("visibilitychange", () => this.#look());
    addEventListener("resize", () => this.view === "grid" && this.#act(this.grid.show()));
  }

  #buttons() {
    byId("classes").addEventListener("click", ({ target }) => {
      const button = target.closest(".class");
      if (button) this.decide("label", button.value);
    });
    byId("skip").addEventListener("click", () => this.decide("skip"));
    byId("accept").addEventListener("click", () => this.accept());
    byId("accept-most").addEventListener("click", () => this.accept());
    byId("keep").addEventListener("click", () => this.keep());
    byId("undo").addEventListener("click", () => this.#act(this.session.undo()));
    byId("add").addEventListener("click", () => this.naming.open(true));
    byId("find").addEventListener("click", () => this.naming.open(false));
    byId("views").append(...Object.entries(VIEWS).filter(([view]) => view !== "map" || this.session.mapped).map(([view, title]) => {
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
    if (event.key === "Enter" && event.target.closest("button:not(.cell)")) return; // reached by Tab: Enter presses it
    const digit = digitOf(event);
    const named = digit && this.session.classes.find((entry) => entry.key === digit);
    const command = named ? () => this.decide("label", named.name) : this.#command(event);
    if (!command) return;
    event.preventDefault();
    if (!event.repeat || event.key.startsWith("Arrow") || event.key.startsWith("Page")) command(); // a held key labels once
  }

  #command({ key, ctrlKey }) {
    const { session, grid } = this;
    if (ctrlKey && key === "z") return () => this.#act(session.undo());
    const common = {
      s: () => this.decide("skip"),
      u: () => this.#act(session.undo()),
      g: () => this.#turnTo(this.view === "one" ? "grid" : "one"),
      l: () => this.#nextLane(),
      "/": () => this.naming.open(false),
      "+": () => this.naming.open(true),
      c: () => this.classes.open(),
      m: () => session.mapped && this.#turnTo("map"),
      "?": () => this.help.open(),
    };
    const turn = (way) => () => this.#act(way > 0 && this.groups.has() ? this.#nextGroup() : grid.turn(way));
    const views = {
      one: {
        n: () => session.item && this.one.note(),
        f: () => this.one.frame.toggle(),
        Enter: () => this.accept(),
        k: () => this.keep(),
        ArrowLeft: () => this.#act(session.goTo(session.at - 1)),
        ArrowRight: () => this.#act(session.goTo(session.at + 1)),
      },
      grid: {
        a: () => grid.selectAll(),
        Escape: () => grid.selectNone(),
        ...(this.groups.has() && { Enter: () => this.accept() }),
        ArrowLeft: turn(-1), ArrowRight: turn(1), PageUp: turn(-1), PageDown: turn(1),
      },
      map: this.map.keys(),
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
    this.#act(this.session.goTo(at));
  }

  #nextLane() {
    const names = this.session.lanes.filter((lane) => lane.total !== 0).map((lane) => lane.name);
    const next = names[(names.indexOf(this.session.filter.lane) + 1) % names.length];
    this.#choose({ ...NO_FILTER, lane: next });
  }

  #show() {
    const { session, view } = this;
    const mapped = view === "map";
    byId("map").hidden = !mapped;
    if (view !== "grid") this.suggest.showPage([]);
    const empty = !mapped && (view === "one" ? !session.item : !session.items.length);
    byId("one").hidden = byId("panel").hidden = view !== "one" || empty;
    byId("grid").hidden = view !== "grid" || empty;
    byId("done").hidden = !empty || !session.end;
    byId("loading").hidden = !empty || session.end;
    for (const button of byId("views").children) button.ariaPressed = String(button.dataset.view === view);
    this.#showBars();
    if (mapped) this.#act(this.map.show());
    else if (view === "one") this.one.show();
    else if (!empty) this.#act(this.grid.show(this.grid.startOf(session.at)));
    if (empty && session.end) this.#done();
  }

  #describe() {
    this.#showBars();
    if (this.view === "one") this.one.describe();
    else if (this.view === "grid") this.grid.describe();
  }

  #showBars() {
    const item = this.view === "one" ? this.session.item : undefined;
    this.bars.show(item);
    this.suggest.show(item);
    document.body.dataset.grouped = this.groups.has() ? "true" : "";
    byId("group-note").textContent = this.groups.words();
    if (!byId("done").hidden) this.#done(); // its counts are those of now
  }

  #done() {
    const { session } = this;
    const { lane, show, label, group, text } = session.filter;
    const narrow = label || group || text;
    const ways = session.lanes.filter((other) => other.name !== lane && other.labelled + other.skipped < other.total)
      .map((other) => [`${other.title} (${other.total - other.labelled - other.skipped} open)`, { ...NO_FILTER, lane: other.name }]);
    if (narrow) ways.unshift(["Clear filters", NO_FILTER]);
    else if (show === "open" && session.lane().total) ways.unshift(["Show the labelled pictures", { show: "labelled" }]);
    const seen = session.items.length > 0;
    byId("done-title").textContent = this.groups.has() ? "Every group is labelled or skipped." : seen ? "That was the last picture." : narrow ? "No pictures match." : "Nothing here.";
    byId("done-text").textContent = !seen ? "" : session.items.some(isOpen) ? "Some pictures in this list are still open." : "Every picture in this list is labelled or skipped.";
    const shown = JSON.stringify(ways);
    if (byId("done-ways").dataset.shown === shown) return; // or the focus would be lost
    byId("done-ways").dataset.shown = shown;
    byId("done-ways").replaceChildren(...ways.map(([title, changes]) => {
      const button = make("button", {}, title);
      button.addEventListener("click", () => this.#choose(changes));
      return button;
    }));
  }

  #tell(text) {
    byId("message").textContent = text;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => (byId("message").textContent = ""), MESSAGE);
  }

  // ---- the server

  /** Does what the person asked for; the page is marked as busy until it shows the result. */
  async #act(promise) {
    this.#acting += 1;
    byId("app").ariaBusy = "true";
    try {
      return await this.#try(promise);
    } finally {
      this.#acting -= 1;
      byId("app").ariaBusy = String(this.#acting > 0);
    }
  }

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
    if (error.status === 401) return; // the page is locked
    if (error.status && error.status !== 503) notice(error.message, error.remedy);
    else this.#trouble();
  }

  /** Shows what keeps labels from being saved, for as long as it does. */
  #trouble() {
    const { outbox, server } = this;
    if (server.expired) return;
    const gone = !server.reachable && new ServerError("The label server does not answer.",
      "Start it again with winnow label, on the same port. Your labels are kept in this browser and sent when it is back.", 0);
    const trouble = server.refusal ?? (gone || (outbox.waiting && outbox.trouble?.status && outbox.trouble));
    if (trouble && byId("trouble")?.dataset.message === trouble.message) return; // or it would be read out again
    byId("trouble")?.remove();
    if (trouble) notice(trouble.message, trouble.remedy, "trouble");
  }

  #reached() {
    this.#trouble();
    if (!this.server.reachable || this.server.refusal) return;
    if (this.#stalled) this.#goOn(this.#stalled);
    else if (!this.session.items.length && !this.session.end) this.#choose(this.groups.has() ? { lane: this.session.filter.lane } : {});
    else if (this.view === "one" || document.querySelector(".cell.missing")) this.#show();
  }

  async #poll() {
    await this.#look();
    if (!this.server.expired) setTimeout(() => this.#poll(), POLL);
  }

  async #look() {
    if (document.hidden) return;
    await this.#try(this.session.follow());
    this.suggest.ask();
  }
}

/** Returns the digit of a key, also where digits are typed with Shift (as on French keyboards). */
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
  byId("app").hidden = true;
  byId("locked").hidden = false;
}

/** Asks for the address of a server that was started anew; what waits in this browser is sent when it is opened, here or in another tab. */
function lockExpired() {
  const waiting = itemsOf(keysOf(sessionStorage.getItem(HOME) ?? ""));
  const waits = waiting ? `${waiting} ${waiting > 1 ? "labels wait" : "label waits"} in this browser and will be sent then.` : "";
  lock("This page's start token is not the server's.",
    `winnow label makes a new one each time it starts. Open the address that it printed, or paste it here. ${waits}`);
  addEventListener("storage", lockExpired, { once: true }); // another tab may send them
}

byId("address").addEventListener("input", ({ target }) => {
  const found = /^https?:\/\/([^/]+)\/(#(?:token|once)=[\w-]{43})$/.exec(target.value.trim());
  if (!found) return;
  if (found[1] === location.host) location.hash = found[2];
  else byId("locked-text").textContent = `That server has another port. Start it with --port ${location.port}: what waits in this browser is sent to this address alone.`;
});

async function open() {
  let token;
  try {
    token = await takeToken();
  } catch (error) {
    return lock(error.message, "Open the address that winnow label printed, or paste it here.");
  }
  if (!token) return lock("The start token is missing.", "Open the address that winnow label printed, or paste it here.");
  const server = new Server(token);
  try {
    const state = await server.get("state");
    sessionStorage.setItem(HOME, state.home);
    await new Page(server, state).start();
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.status === 401) lockExpired();
    else lock(error.message, `${error.remedy} Then reload this page.`);
  }
}

addEventListener("hashchange", () => location.reload()); // a new address pasted into this tab
open();
