// Requests to the server. Each carries the start token that came in the address.

const TOKEN = "winnow token";
const PATIENCE = 30_000; // milliseconds after which a silent server counts as gone

export class ServerError extends Error {
  /** `status` is 0 when no answer came at all. */
  constructor(message, remedy, status) {
    super(message);
    Object.assign(this, { remedy, status });
  }
}

/**
 * Moves the token from the address, where others could see it, into this tab's memory, and returns it; "" when there never
 * was one. For a one-time address the server gives the token, once. Throws a ServerError when it does not.
 */
export async function takeToken() {
  const found = /^#(token|once)=([\w-]+)$/.exec(location.hash);
  if (found) history.replaceState(null, "", location.pathname);
  if (found?.[1] === "token") sessionStorage.setItem(TOKEN, found[2]);
  if (found?.[1] === "once") sessionStorage.setItem(TOKEN, (await new Server("").post("enter", { code: found[2] })).token);
  return sessionStorage.getItem(TOKEN) ?? "";
}

/**
 * Dispatches "reachable" when the server is lost, when it cannot save, and when it is found again; "expired", once, when it
 * does not know the token: a server makes a new one each time it starts. From then on it is asked for nothing more.
 */
export class Server extends EventTarget {
  reachable = true;
  expired = null; // the ServerError with which the token was refused
  refusal = null; // the ServerError of a server that can save nothing; kept when it ends, as it has the reason

  #cannotSave = false; // by the last POST: an answer to what was only read does not tell

  /** `name` is what a person calls this server, `command` what starts it. */
  constructor(token, name = "The label server", command = "winnow label") {
    super();
    Object.assign(this, { token, name, command });
  }

  /** Returns the error of a server that does not answer. */
  get gone() {
    return new ServerError(`${this.name} does not answer.`, `Start it again with ${this.command}, on the same port.`, 0);
  }

  get(path) {
    return this.#ask(path, {}, (answer) => answer.json());
  }

  post(path, body) {
    const headers = { "Content-Type": "application/json" };
    return this.#ask(path, { method: "POST", headers, body: JSON.stringify(body) }, (answer) => answer.json());
  }

  blob(path) {
    return this.#ask(path, {}, (answer) => answer.blob());
  }

  /** Returns a row's picture, and how it stands with the file it was ingested from: "same", "changed" or "missing". */
  picture(row, size) {
    const read = async (answer) => ({ blob: await answer.blob(), original: answer.headers.get("Winnow-Original") });
    return this.#ask(`pictures/${row}?size=${size}`, {}, read);
  }

  async #ask(path, options, read) {
    if (this.expired) throw this.expired;
    const headers = { ...options.headers, Authorization: `Bearer ${this.token}` };
    let answer, body;
    try {
      answer = await fetch(`/api/${path}`, { ...options, headers, signal: AbortSignal.timeout(PATIENCE) });
      body = answer.ok ? await read(answer) : await answer.json().catch(() => ({}));
    } catch {
      this.#reached(false, this.refusal);
      throw this.gone;
    }
    const error = answer.ok ? null : new ServerError(body.error ?? `The server answered ${answer.status}.`, body.remedy ?? "", answer.status);
    if (options.method === "POST") this.#cannotSave = error?.status === 503;
    this.#reached(true, error?.status === 503 ? error : error || this.#cannotSave ? this.refusal : null);
    if (error?.status === 401 && !this.expired) {
      this.expired = error;
      this.dispatchEvent(new Event("expired"));
    }
    if (error) throw error;
    return body;
  }

  #reached(reachable, refusal) {
    if (this.reachable === reachable && this.refusal?.message === refusal?.message) return;
    Object.assign(this, { reachable, refusal });
    this.dispatchEvent(new Event("reachable"));
  }
}
