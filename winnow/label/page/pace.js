// How fast the person at the page decides.

const LATEST = 60; // decisions that count
const BREAK = 60_000; // milliseconds; anyone away for longer was not labelling
const FEWEST = 5;

export class Pace {
  #steps = []; // pictures decided and milliseconds taken
  #last = null;

  /** Counts a decision on a number of pictures, made now. */
  add(pictures, now = performance.now()) {
    if (this.#last !== null && now - this.#last < BREAK) this.#steps.push([pictures, now - this.#last]);
    this.#last = now;
    this.#steps = this.#steps.slice(-LATEST);
  }

  /** Pictures a minute, null while there are too few to tell. */
  get rate() {
    const [pictures, time] = this.#steps.reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
    return pictures < FEWEST || !time ? null : (60_000 * pictures) / time;
  }

  /** Returns the pace and the time left for a number of open pictures as text, "" while there are too few to tell. */
  words(open) {
    if (this.rate === null) return "";
    const minutes = open / this.rate;
    const left = minutes < 1 ? "under 1 min" : minutes < 90 ? `${Math.round(minutes)} min` : `${Math.round(minutes / 60)} h`;
    return `${Math.round(this.rate)} a minute` + (open ? `, ${left} left` : "");
  }
}
