// What can be taken back in this tab, the latest last; kept through a reload.

const MOST = 100; // decisions

export class Undos {
  constructor(key) {
    this.key = key;
  }

  get all() {
    return JSON.parse(sessionStorage.getItem(this.key) ?? "[]");
  }

  add(undo) {
    this.keep([...this.all, undo].slice(-MOST));
  }

  /** Whether the event of a uuid can be taken back. */
  has(uuid) {
    return this.all.some((undo) => undo.uuid === uuid);
  }

  /** Forgets events that the server refused: there is nothing to take back. */
  drop(uuids) {
    if (uuids.length) this.keep(this.all.filter(({ uuid }) => !uuids.includes(uuid)));
  }

  /** Keeps these alone. */
  keep(undos) {
    for (let from = 0; from < undos.length; from += 1) {
      try {
        return sessionStorage.setItem(this.key, JSON.stringify(undos.slice(from)));
      } catch {
        // the browser has no room for so many: the oldest go
      }
    }
    sessionStorage.removeItem(this.key);
  }
}
