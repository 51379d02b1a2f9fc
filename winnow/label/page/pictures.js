// Pictures as object URLs. Fetched by script because an <img> cannot send the token; the latest are kept, the others revoked.

const MOST = { large: 24, small: 600 };

export class Pictures {
  #kept = { large: new Map(), small: new Map() };

  constructor(server) {
    this.server = server;
  }

  /** Returns a promise of the URL of a row's picture; `size` is "small" or "large". */
  get(row, size) {
    const kept = this.#kept[size];
    const found = kept.get(row) ?? this.server.picture(row, size).then((blob) => URL.createObjectURL(blob));
    kept.delete(row); // a Map keeps the order of insertion: what is asked for again becomes the latest
    kept.set(row, found);
    found.catch(() => kept.get(row) === found && kept.delete(row));
    if (kept.size > MOST[size]) this.#drop(kept);
    return found;
  }

  #drop(kept) {
    const [row, oldest] = kept.entries().next().value;
    kept.delete(row);
    oldest.then((url) => URL.revokeObjectURL(url), () => {});
  }
}
