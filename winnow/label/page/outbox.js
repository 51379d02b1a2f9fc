// Events on their way to the server. Each waits in localStorage under a key of its own until the server has it
// on disk, so that a reload, a crash of the page or a lost connection loses nothing and two tabs never overwrite each other.

const BATCH = 100;
const LONGEST_BATCH = 400_000; // characters of items' names and of what was seen, or the server would not read it
const [SHORTEST, LONGEST] = [500, 15_000]; // milliseconds between two attempts

const prefixOf = (home) => `winnow ${home} event `;

/** Returns the keys of the events of a run that wait in this browser, in their order. */
export function keysOf(home) {
  return Object.keys(localStorage).filter((key) => key.startsWith(prefixOf(home))).sort();
}

/** Returns how many items the events with some keys are about. */
export const itemsOf = (keys) => keys.reduce((sum, key) => sum + Number(key.split(" ").at(-1)), 0);

/**
 * Dispatches "change" when the number of waiting events or the trouble changes, and "answer" with the server's answer, in which
 * each refusal has the `ids` of its items; "refused" with the refusals that another tab was told, which had sent the events.
 */
export class Outbox extends EventTarget {
  trouble = null; // the ServerError of the last attempt
  #last = 0;
  #busy = false;
  #wake = () => {};

  constructor(server, home) {
    super();
    Object.assign(this, { server, home });
    this.prefix = prefixOf(home);
    this.refusedKey = `winnow ${home} refused`;
    server.addEventListener("reachable", () => this.#wake());
    addEventListener("online", () => this.#wake());
    addEventListener("storage", ({ key, newValue }) => {
      this.#changed(); // another tab's events
      if (key === this.refusedKey && newValue) this.dispatchEvent(new CustomEvent("refused", { detail: JSON.parse(newValue) }));
    });
  }

  /** How many decisions on an item are waiting, those of other tabs included. */
  get waiting() {
    return itemsOf(this.#keys());
  }

  /**
   * Queues events and starts to send them. Besides what the server needs, an event has `who` and `effects`: by the id of
   * each item that it is about, the fields that it sets there. Throws when the browser has no room.
   */
  add(events) {
    const kept = [];
    try {
      for (const event of events) {
        this.#last = Math.max(Date.now(), this.#last + 1);
        kept.push(`${this.prefix}${String(this.#last).padStart(15, "0")} ${event.uuid} ${Object.keys(event.effects).length}`);
        localStorage.setItem(kept.at(-1), JSON.stringify(event));
      }
    } catch (error) {
      for (const key of kept) localStorage.removeItem(key);
      throw error;
    }
    this.#changed();
    this.send();
  }

  /** Returns a map from an item's id to the fields that waiting events set. */
  effects() {
    const effects = new Map();
    for (const [, event] of this.#events()) {
      for (const [id, effect] of Object.entries(event.effects)) effects.set(id, { ...effects.get(id), ...effect });
    }
    return effects;
  }

  /** Sends the waiting events, again and again until all are saved; a call while it is at work does nothing. */
  async send() {
    if (this.#busy) return;
    this.#busy = true;
    let pause = SHORTEST;
    while (this.waiting) {
      try {
        // One tab at a time, so that the order of the keys is the order of arrival.
        await navigator.locks.request(`${this.prefix}lock`, () => this.#drain());
        this.trouble = null;
        pause = SHORTEST;
      } catch (error) {
        this.trouble = error;
        this.#changed();
        if (error.status === 401) break; // they wait for the page to be opened with the new token
        await this.#rest(pause);
        pause = Math.min(2 * pause, LONGEST);
      }
    }
    this.#busy = false;
    this.#changed();
  }

  /** Waits until the server has all, or cannot have it now. */
  async settled() {
    while (this.waiting && !this.trouble) await new Promise((resolve) => this.addEventListener("change", resolve, { once: true }));
  }

  async #drain() {
    let most = BATCH;
    for (let entries = this.#events(); entries.length; entries = this.#events()) {
      const who = entries[0][1].who;
      const other = entries.findIndex(([, event]) => event.who !== who);
      let length = 0;
      const long = entries.findIndex(([, event], at) => (length += event.item.length + (event.seen ?? "").length) > LONGEST_BATCH && at > 0);
      const batch = entries.slice(0, Math.min(most, ...[other, long].filter((at) => at >= 0)));
      const answer = await this.#post(who, batch.map(([, event]) => event));
      if (!answer) {
        most = 1; // one of them is unreadable to the server: singly, the others get through
        continue;
      }
      const settled = new Set([...answer.saved, ...answer.refused.map((refusal) => refusal.uuid)]);
      for (const [key, event] of batch) if (settled.has(event.uuid)) localStorage.removeItem(key);
      this.#changed();
      const ids = new Map(batch.map(([, event]) => [event.uuid, Object.keys(event.effects)]));
      const refused = answer.refused.map((refusal) => ({ ...refusal, ids: ids.get(refusal.uuid) }));
      this.dispatchEvent(new CustomEvent("answer", { detail: { ...answer, refused } }));
      if (refused.length) this.#pass(refused);
    }
  }

  /** Returns the server's answer, null when it cannot read the events as a whole and there are several. */
  async #post(who, events) {
    const sent = events.map(({ uuid, item, kind, value, at, seen = "" }) => ({ uuid, item, kind, value, at, seen }));
    try {
      return await this.server.post("events", { who, events: sent });
    } catch (error) {
      if (![400, 413, 422].includes(error.status)) throw error;
      if (events.length > 1) return null;
      return { saved: [], refused: [{ uuid: events[0].uuid, reason: error.message }], items: [] };
    }
  }

  /** Tells the other tabs what was refused: some of it may be theirs. */
  #pass(refused) {
    try {
      localStorage.setItem(this.refusedKey, JSON.stringify(refused));
      localStorage.removeItem(this.refusedKey);
    } catch {
      // the browser has no room for it; this tab says what was refused
    }
  }

  #keys() {
    return keysOf(this.home);
  }

  #events() {
    const texts = this.#keys().map((key) => [key, localStorage.getItem(key)]);
    return texts.filter(([, text]) => text !== null).map(([key, text]) => [key, JSON.parse(text)]); // null: just sent by another tab
  }

  #rest(pause) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, pause);
    });
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
