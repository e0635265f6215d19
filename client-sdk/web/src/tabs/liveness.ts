/**
 * Whether the page that owns a slot is still there (WEB-2).
 *
 * With Web Locks a held lock is the proof, and it ends with its page. Without them (plain http in a LAN) pages ask
 * each other, and silence until a deadline counts as gone. Silence can be wrong: the store's owner check makes that
 * harmless (WEB-4).
 */
import type { Channel, Environment } from './environment.js';

/** How long a page may take to answer. */
const ANSWER_MS_MAX = 300;
/** How long a lock may outlive a page that is being reloaded. */
const RELOAD_MS_MAX = 500;

/** What is known about the page that held a slot: it may be this tab's before a reload, or it said that it leaves. */
export type Knowledge = 'maybe reloaded' | 'left';

/** Claims of slots, for as long as this page lives. */
export interface Liveness {
  /** Claims a slot unless a live page holds it. */
  claim(slot: string, knowledge?: Knowledge): Promise<boolean>;
  /** Gives a slot free. */
  release(slot: string): void;
  close(): void;
}

/** The best that the surroundings have. */
export function openLiveness(name: string, environment: Environment): Liveness {
  const { locks } = environment;
  return locks === undefined ? new Asking(environment.openChannel(name)) : new Locking(name, locks);
}

class Locking implements Liveness {
  readonly #held = new Map<string, () => void>();

  constructor(
    private readonly name: string,
    private readonly locks: LockManager,
  ) {}

  claim(slot: string, knowledge?: Knowledge): Promise<boolean> {
    const wait = knowledge !== undefined;
    const options: LockOptions = wait
      ? { signal: AbortSignal.timeout(RELOAD_MS_MAX) }
      : { ifAvailable: true };
    return new Promise((claimed) => {
      const request = this.locks.request(`${this.name}/${slot}`, options, (lock) => {
        claimed(lock !== null);
        return lock === null ? undefined : new Promise<void>((release) => this.#held.set(slot, release));
      });
      // Rejects when the deadline passes before the lock is there.
      request.catch(() => claimed(false));
    });
  }

  release(slot: string): void {
    this.#held.get(slot)?.();
    this.#held.delete(slot);
  }

  close(): void {
    for (const slot of [...this.#held.keys()]) this.release(slot);
  }
}

type Word = { readonly who: 'is here' } | { readonly here: readonly string[] };

class Asking implements Liveness {
  readonly #held = new Set<string>();
  #heard = new Set<string>();
  #census: Promise<void> | undefined;

  constructor(private readonly channel: Channel) {
    channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
  }

  async claim(slot: string, knowledge?: Knowledge): Promise<boolean> {
    if (knowledge !== 'left') await (this.#census ??= this.#ask());
    if (this.#heard.has(slot) || this.#held.has(slot)) return false;
    this.#held.add(slot);
    return true;
  }

  release(slot: string): void {
    this.#held.delete(slot);
  }

  close(): void {
    this.#held.clear();
    this.channel.close();
  }

  /** One question serves all claims made until it is answered, and shortly after. */
  async #ask(): Promise<void> {
    this.#heard = new Set();
    this.channel.postMessage({ who: 'is here' } satisfies Word);
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS_MAX));
    setTimeout(() => (this.#census = undefined), ANSWER_MS_MAX);
  }

  #hear(word: Word): void {
    if ('here' in word) for (const slot of word.here) this.#heard.add(slot);
    else if (this.#held.size > 0) this.channel.postMessage({ here: [...this.#held] } satisfies Word);
  }
}
