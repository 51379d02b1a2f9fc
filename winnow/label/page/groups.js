// Lanes of groups: pictures that are alike, or crops of one track, shown together with all ticked. One key labels those that stay ticked.

import { byId, count } from "./dom.js";
import { NO_FILTER } from "./session.js";

const AGAIN = 500; // milliseconds between two questions whether the groups are known
const KINDS = { groups: ["look-alikes", "group"], tracks: ["crops of one track", "track"] };

export class Groups {
  #listed = []; // the parts of the lane with open pictures, and how many, most first
  #passed = new Set(); // parts shown since the list was fetched
  #total = 0;
  #entering = ""; // the lane that is waited for

  constructor(session, server) {
    Object.assign(this, { session, server });
  }

  /** Whether a lane is shown group by group. */
  has(lane = this.session.filter.lane) {
    return this.session.lane(lane)?.grouped === true;
  }

  /** Opens a lane: the group that was shown before a reload where it has open pictures, else the largest. */
  async enter(lane, part = "") {
    this.#passed.clear();
    this.#entering = lane;
    this.session.wait(lane);
    byId("loading").textContent = lane === "groups" ? "Looking for pictures that are alike …" : "Loading …";
    try {
      if (!(await this.#fetch(lane))) return;
    } finally {
      byId("loading").textContent = "Loading …";
    }
    if (this.#listed.some((entry) => entry.part === part)) await this.#open(part);
    else await this.next();
  }

  /** Leaves the lane that is waited for, as another was chosen. */
  leave() {
    this.#entering = "";
  }

  /** Takes note that a group of a lane is shown again, after another lane was left; returns whether it was. */
  resume(lane) {
    if (!this.has(lane) || this.#entering === lane) return false;
    this.#entering = lane;
    this.#listed = [];
    this.#total = 0;
    this.#passed.clear();
    return true;
  }

  /** Opens the largest group that was not shown yet; after the last those that still have open pictures. */
  async next() {
    const lane = this.session.filter.lane;
    let found = this.#listed.find(({ part }) => !this.#passed.has(part));
    if (!found) {
      if (!(await this.#fetch(lane))) return;
      found = this.#listed.find(({ part }) => !this.#passed.has(part));
      if (!found) this.#passed.clear();
      found ??= this.#listed[0];
    }
    if (found) await this.#open(found.part);
    else await this.session.choose({ lane, part: "", ...NO_FILTER }); // all is done
  }

  /** Returns what is shown, in words. */
  words() {
    const { items, filter, total } = this.session;
    if (!this.has() || !items.length) return "";
    const left = this.#listed.filter(({ part }) => !this.#passed.has(part)).length + Math.max(0, this.#total - this.#listed.length);
    const [pictures, one] = KINDS[filter.lane] ?? ["pictures", "group"];
    const rest = left ? `, ${count(left)} more ${one}${left > 1 ? "s" : ""}` : "";
    return `${count(Math.max(total, items.length))} ${pictures}${rest}. Untick what does not belong, then press the key of a class.`;
  }

  async #open(part) {
    this.#passed.add(part);
    await this.session.choose({ lane: this.#entering, part, ...NO_FILTER });
  }

  /** Fetches the list, waiting until it is known; returns whether the lane is still wanted. */
  async #fetch(lane) {
    await this.session.outbox.settled(); // or what was just labelled would be open in the list, and come first
    for (;;) {
      const answer = await this.server.get(`groups?${new URLSearchParams({ lane })}`);
      if (this.#entering !== lane) return false;
      if (answer.failure) this.session.tell(answer.failure);
      if (answer.ready || answer.failure) {
        Object.assign(this.session.lane(lane), answer.lane);
        this.#listed = answer.groups;
        this.#total = answer.total;
        return true;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
      if (this.#entering !== lane) return false;
    }
  }
}
