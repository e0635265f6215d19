import type { Status, Syncline } from '../../src/index.js';

type Line = Pick<Syncline, 'status' | 'setOnline'>;

/** The connections of this window, one per stream, as one: what waits in any of them waits. */
export class Lines {
  readonly #lines: Line[];

  constructor(first: Line) {
    this.#lines = [first];
  }

  /** A further stream; offline on purpose, if the others are. */
  add(line: Line): void {
    const { status } = this;
    if (status.state === 'offline' && status.retryAt === null) line.setOnline(false);
    this.#lines.push(line);
  }

  get status(): Status {
    const all = this.#lines.map(({ status }) => status);
    const pending = all.reduce((sum, status) => sum + status.pending, 0);
    const down = all.find(isDown);
    if (down !== undefined) return { ...down, pending };
    if (all.some(({ state }) => state === 'connecting')) return { state: 'connecting', pending };
    return pending === 0 ? { state: 'saved', pending } : { state: 'saving', pending };
  }

  setOnline(online: boolean): void {
    for (const line of this.#lines) line.setOnline(online);
  }
}

/** Not connected, and not about to be. */
export function isDown(
  status: Status,
): status is Extract<Status, { readonly state: 'offline' | 'needs_auth' | 'closed' }> {
  return status.state === 'offline' || status.state === 'needs_auth' || status.state === 'closed';
}
