// A labelling session: the run's state, the queue as far as it is loaded, decisions and their undo.

import { Pace } from "./pace.js";
import { Undos } from "./undos.js";

const LOAD = 50; // items asked for at once
const FEW = 8; // in the lane "next", where a later answer knows better
const FIELDS = { label: ["label", "skipped"], skip: ["label", "skipped"], clear: ["label", "skipped"], note: ["note"] };

/** A queue without a filter; `part` of a lane is a group or a region, "" where it has none. */
export const NO_FILTER = { show: "open", label: "", group: "", text: "" };
export const isOpen = (item) => item.label === null && !item.skipped;

/**
 * Dispatches "state" (classes, lanes), "queue" (another list), "move" (another current item), "items" (the state of
 * items changed) and "message" (a sentence for the person).
 */
export class Session extends EventTarget {
  classes = [];
  lanes = [];
  groups = [];
  items = []; // the queue, as far as loaded
  at = 0; // of the current item; the queue's length when it is done
  end = false;
  total = 0;
  pace = new Pace();
  #known = new Map(); // row to item: one object for an item, wherever it is shown
  #details = new Map(); // row to promise of the rows before and after it
  #after = -1;
  #turn = 0; // which list is being loaded; answers for an earlier one are thrown away
  #loading = null;
  #stale = false; // whether the server's counts are newer than ours
  #answers = 0; // how often labels of this page were saved

  constructor(server, outbox, state) {
    super();
    Object.assign(this, { server, outbox, run: state.run, groups: state.groups, mapped: state.mapped, blind: state.blind, pool: state.pool });
    this.seq = state.seq;
    this.changes = state.changes; // of classes: how often they were renamed, merged or deleted
    this.#take(state);
    this.undos = new Undos(`winnow ${state.home} undo`);
    this.viewKey = `winnow ${state.home} view`;
    const lane = ["next", "chosen", "all"].find((name) => this.lane(name)?.total) ?? "all";
    this.filter = { lane, part: "", ...NO_FILTER, ...JSON.parse(sessionStorage.getItem(this.viewKey) ?? "{}") };
    if (this.filter.lane === "region" && state.mapped) this.addRegion();
    if (!this.lane()) this.filter = { lane, part: "", ...NO_FILTER }; // the server before this one had it
    if (!this.classNamed(this.filter.label)) this.filter.label = "";
    if (!this.groups.includes(this.filter.group)) this.filter.group = "";
    this.who = localStorage.getItem("winnow who") ?? state.who;
    outbox.addEventListener("answer", ({ detail }) => this.#answered(detail));
    outbox.addEventListener("refused", ({ detail }) => this.#refusedElsewhere(detail));
  }

  get item() {
    return this.items[this.at];
  }

  lane(name = this.filter.lane) {
    return this.lanes.find((lane) => lane.name === name);
  }

  classNamed(name) {
    return this.classes.find((entry) => entry.name === name);
  }

  // ---- the queue

  /** Starts a queue with other filters; those not named stay. */
  async choose(changes = {}) {
    this.#begin(this.#shown(changes));
    await this.load(this.#atOnce);
    if (this.filter.show === "open") this.at = this.#nextOpen(0);
    this.#tell("move");
  }

  /** Shows an empty queue of a lane whose first part is still to be found. */
  wait(lane) {
    this.#begin({ ...NO_FILTER, lane, part: "" });
  }

  #begin(changes) {
    Object.assign(this.filter, changes);
    sessionStorage.setItem(this.viewKey, JSON.stringify(this.filter));
    Object.assign(this, { items: [], at: 0, end: false, total: 0 });
    this.#after = -1;
    this.#turn += 1;
    this.#loading = null;
    this.#tell("queue");
  }

  /** Shows some items of a part of a lane, by their rows, as a queue: those of an act that was undone. */
  async reopen({ lane, part, rows }) {
    this.#begin({ ...NO_FILTER, lane, part });
    const turn = this.#turn;
    const items = await this.known(rows);
    if (turn !== this.#turn) return;
    Object.assign(this, { items, end: true, total: items.length });
    this.#tell("move");
  }

  /** Returns changes of the filter, with those that come with a change of lane: what is to be checked is labelled. */
  #shown(changes) {
    const { lane = this.filter.lane } = changes;
    if (lane === this.filter.lane) return changes;
    changes = { part: "", ...changes };
    if (lane === "check") return { ...changes, ...NO_FILTER, show: "labelled" };
    return this.filter.lane === "check" ? { ...NO_FILTER, ...changes } : changes;
  }

  get #atOnce() {
    return this.filter.lane === "next" ? FEW : LOAD;
  }

  /** Loads the queue up to a length, or to its end. */
  async load(length) {
    const turn = this.#turn;
    while (!this.end && this.items.length < length && turn === this.#turn) {
      this.#loading ??= this.#more(turn).finally(() => turn === this.#turn && (this.#loading = null));
      await this.#loading;
    }
  }

  async #more(turn) {
    const { lane, show, label, group, text, part } = this.filter;
    const asked = new URLSearchParams({ lane, show, after: this.#after, limit: this.#atOnce, text });
    if (part) asked.set("part", part);
    if (label) asked.set("label", label);
    if (group) asked.set("group", group);
    const answer = await this.#ask(`items?${asked}`);
    if (turn !== this.#turn) return;
    const listed = new Set(this.items.map((item) => item.row));
    this.items.push(...this.#know(answer.items).filter((item) => !listed.has(item.row)));
    if (this.#after < 0) this.total = answer.total;
    if (this.#after < 0 && lane === "region") Object.assign(this.lane(), { total: answer.total, labelled: 0, skipped: 0 });
    this.#after = answer.items.at(-1)?.place ?? this.#after;
    this.end = answer.end;
  }

  /** Goes to a position in the queue; beyond its end the queue is done. */
  async goTo(at) {
    const turn = this.#turn;
    await this.load(at + 1);
    if (turn !== this.#turn) return;
    this.at = Math.max(0, Math.min(at, this.items.length));
    this.#tell("move");
    this.load(this.at + this.#atOnce / 2).catch(() => {}); // ahead of need; when it is needed and fails, that is reported
  }

  /** Goes to the next undecided picture; after the last, to one that was passed over. */
  async goOn() {
    if (["labelled", "skipped"].includes(this.filter.show)) return this.goTo(this.at + 1);
    const turn = this.#turn;
    let at = this.at + 1;
    while ((at = this.#nextOpen(at)) === this.items.length && !this.end && turn === this.#turn) await this.load(at + 1);
    if (turn !== this.#turn) return;
    if (at === this.items.length) at = this.#nextOpen(0);
    await this.goTo(at);
  }

  #nextOpen(from) {
    const found = this.items.findIndex((item, at) => at >= from && isOpen(item));
    return found < 0 ? this.items.length : found;
  }

  /** Goes to an item by its row; an item that was not in the queue is inserted here. */
  async visit(row) {
    const turn = this.#turn;
    let at = this.items.findIndex((item) => item.row === row);
    if (at < 0) {
      const [item] = await this.known([row]);
      if (turn !== this.#turn) return;
      this.items.splice((at = this.at), 0, item);
    }
    await this.goTo(at);
  }

  // ---- items

  /** Returns the rows before and after an item's, in time. */
  async neighbours(row) {
    if (!this.#details.has(row)) {
      const asked = this.#ask(`items/${row}`).then(({ before, after, ...item }) => (this.#know([item]), { before, after }));
      asked.catch(() => this.#details.delete(row));
      this.#details.set(row, asked);
    }
    return this.#details.get(row);
  }

  /** Returns the items of rows, asking the server for those not known yet. */
  async known(rows) {
    await Promise.all(rows.filter((row) => !this.#known.has(row)).map((row) => this.neighbours(row)));
    return rows.map((row) => this.#known.get(row));
  }

  /** Asks for items; again when labels of this page were saved meanwhile, which the answer may not have seen. */
  async #ask(path) {
    let before, answer;
    do {
      before = this.#answers;
      answer = await this.server.get(path);
    } while (before !== this.#answers);
    return answer;
  }

  #know(items) {
    const effects = this.outbox.effects();
    return items.map((item) => {
      const known = this.#known.get(item.row) ?? {};
      this.#known.set(item.row, known);
      return Object.assign(known, item, effects.get(item.id));
    });
  }

  // ---- decisions

  /**
   * Labels, skips, clears or notes items: shown at once, saved in the background; `seen` is the suggestion that was shown, as the
   * server keeps it. Returns whether the browser could keep it.
   */
  decide(items, kind, value = "", seen = "none") {
    const effect = { label: { label: value, skipped: false }, skip: { label: null, skipped: true },
      clear: { label: null, skipped: false }, note: { note: value } }[kind]; // prettier-ignore
    const event = this.#event(items.map((item) => item.id), kind, value, items.map(() => effect));
    const before = items.map(({ label, skipped, note }) => ({ label, skipped, note }));
    const rows = items.map((item) => item.row);
    if (!this.#send({ ...event, seen: kind === "note" ? "" : seen }, rows)) return false;
    const { lane, part } = this.filter;
    this.undos.add({ uuid: event.uuid, item: event.item, kind, rows, before, lane, part, pool: this.pool });
    if (kind !== "note") this.pace.add(items.length);
    return true;
  }

  /** Undoes this tab's last decision and goes to its picture, or to the group that it was on. */
  async undo() {
    const undos = this.undos.all;
    const done = undos.pop();
    if (!done) return this.tell("Nothing left to undo in this tab.");
    if (done.change) {
      await this.server.post("classes/undo", { uuid: crypto.randomUUID(), change: done.change, who: this.who });
      this.undos.keep(this.undos.all.filter(({ change }) => change !== done.change)); // something may have been labelled meanwhile
      this.tell("Undid the change of a class.");
      return this.#renew();
    }
    const { uuid, item, kind, before, lane, part } = done;
    const rows = done.pool === this.pool ? done.rows : []; // since then more was ingested: the rows are of other pictures
    const effects = before.map((was) => Object.fromEntries(FIELDS[kind].map((field) => [field, was[field]])));
    if (!this.#send(this.#event(item.split("\n"), "undo", uuid, effects), rows)) return;
    this.undos.keep(undos);
    this.tell(before.length > 1 ? `Undid ${before.length} decisions.` : "Undid the last decision.");
    if (!rows.length) return (await this.outbox.settled(), this.#tell("renewed"));
    const elsewhere = lane !== this.filter.lane || part !== this.filter.part;
    if (this.lane(lane)?.grouped && (rows.length > 1 || elsewhere)) await this.reopen(done);
    else await this.visit(rows[0]);
  }

  /** Returns an event on items, of which each has its effect. */
  #event(ids, kind, value, effects) {
    const by = Object.fromEntries(ids.map((id, number) => [id, effects[number]]));
    return { uuid: crypto.randomUUID(), item: ids.join("\n"), kind, value, at: new Date().toISOString(), who: this.who, effects: by };
  }

  #send(event, rows) {
    try {
      this.outbox.add([event]);
    } catch {
      this.tell("This browser cannot keep more unsaved labels. Start the server again first.");
      return false;
    }
    const effects = Object.values(event.effects);
    this.#apply(rows.map((row, number) => ({ row, ...effects[number] })));
    return true;
  }

  /** Applies the present state of items, and counts it until the server's own counts come. */
  #apply(states) {
    for (const state of states) {
      const item = this.#known.get(state.row);
      if (!item) continue;
      this.#count(item, -1);
      Object.assign(item, state);
      this.#count(item, 1);
    }
    if (states.length) this.#tell("items");
  }

  #count(item, by) {
    const lanes = new Set([this.filter.lane, "all"]);
    for (const lane of this.lanes.filter((lane) => lanes.has(lane.name) && (lane.name === "all" || item.place !== undefined))) {
      lane.labelled += item.label === null ? 0 : by;
      lane.skipped += item.skipped ? by : 0;
    }
    const named = this.classNamed(item.label);
    if (named) named.count += by;
  }

  #answered({ refused, items }) {
    this.#answers += 1;
    this.#changed(items);
    this.#refused(refused);
  }

  #refused(refused) {
    this.undos.drop(refused.map(({ uuid }) => uuid));
    for (const { reason, ids } of refused) this.#tell("refused", { reason, what: this.#named(ids) });
  }

  /** Takes back what this tab shows of events that another tab sent and that were refused; of its own it says so. */
  async #refusedElsewhere(refused) {
    this.#refused(refused.filter(({ uuid }) => this.undos.has(uuid)));
    const ids = new Set(refused.flatMap((refusal) => refusal.ids));
    const rows = [...this.#known.values()].filter(({ id }) => ids.has(id)).map(({ row }) => row);
    const items = await Promise.all(rows.map((row) => this.server.get(`items/${row}`))).catch(() => []); // it is away
    this.#changed(items.map(({ before, after, ...item }) => item));
  }

  /** Names an item, or says how many they are. */
  #named(ids) {
    if (ids.length > 1) return `the ${ids.length} pictures`;
    return [...this.#known.values()].find(({ id }) => id === ids[0])?.name ?? "the picture"; // it may be another tab's
  }

  #changed(states) {
    const effects = this.outbox.effects();
    this.#apply(states.map((state) => ({ ...state, ...effects.get(state.id) })));
  }

  // ---- the server's side

  /** Fetches what others changed since the last time. */
  async follow() {
    let before;
    do {
      before = this.seq;
      const answer = await this.server.get(`events?since=${before}`);
      if (answer.changes !== this.changes) await this.#renew();
      this.#changed(answer.items);
      this.seq = answer.seq;
      this.#stale ||= this.seq !== before;
    } while (this.seq !== before); // an answer holds a thousand events at most
    if (!this.#stale || this.outbox.waiting) return; // the server does not count yet what is waiting here
    const state = await this.server.get("state");
    if (this.outbox.waiting) return;
    this.#stale = false;
    this.#take(state);
  }

  /** Adds a class. */
  async addClass(name) {
    this.classes = await this.server.post("classes", { name, who: this.who });
    this.#tell("state");
  }

  /** Renames a class, makes it part of another that has the new name, or deletes it (""). */
  async changeClass(name, to) {
    const uuid = crypto.randomUUID();
    await this.server.post("classes/change", { uuid, name, to, who: this.who });
    this.undos.add({ change: uuid });
    await this.#renew();
  }

  /** Forgets every label that was seen: classes were renamed, merged or deleted, here or elsewhere. */
  async #renew() {
    const state = await this.server.get("state");
    this.#known.clear();
    this.#details.clear();
    this.changes = state.changes;
    this.#take(state);
    if (!this.classNamed(this.filter.label)) this.filter.label = "";
    this.#tell("renewed");
  }

  rename(who) {
    this.who = who;
    localStorage.setItem("winnow who", who);
  }

  /** Adds the lane of a region of the map, which the server does not count. */
  addRegion() {
    if (!this.lane("region")) this.lanes.push({ name: "region", title: "A region of the map", total: 0, labelled: 0, skipped: 0 });
  }

  #take({ classes, lanes }) {
    const region = this.lanes.filter(({ name }) => name === "region");
    Object.assign(this, { classes, lanes: [...lanes, ...region] });
    this.#tell("state");
  }

  tell(text) {
    this.#tell("message", text);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
