// Pictures as object URLs. Fetched by script because an <img> cannot send the token; the latest are kept, the others revoked.

const MOST = { large: 24, small: 600, frame: 12 };
const REMARKS = {
  changed: "The file has changed since it was ingested. Shown is the run's own small copy: label what you see here.",
  missing: "The file cannot be read any more. Shown is the run's own small copy.",
};

/** Returns what a person has to know of a picture that is not shown from the file it was ingested from, else "". */
export function remark(original) {
  return REMARKS[original] ?? "";
}

export class Pictures {
  #kept = { large: new Map(), small: new Map(), frame: new Map() };

  constructor(server) {
    this.server = server;
  }

  /** Returns a promise of the URL of a row's picture, and of how it stands with its `original`; `size` is "small", "large" or "frame". */
  get(row, size) {
    const kept = this.#kept[size];
    const found = kept.get(row) ?? this.server.picture(row, size).then(({ blob, original }) => ({ url: URL.createObjectURL(blob), original }));
    kept.delete(row); // a Map keeps the order of insertion: what is asked for again becomes the latest
    kept.set(row, found);
    found.catch(() => kept.get(row) === found && kept.delete(row));
    if (kept.size > MOST[size]) this.#drop(kept);
    return found;
  }

  #drop(kept) {
    const [row, oldest] = kept.entries().next().value;
    kept.delete(row);
    oldest.then(({ url }) => URL.revokeObjectURL(url), () => {});
  }
}
