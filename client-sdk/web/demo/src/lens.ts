import type { Conflict, Entry, PastState, Syncline, Value } from '../../src/index.js';

/** What the views read of the library. */
export interface Shown {
  has(collection: string, key: string): boolean;
  value(collection: string, key: string): Value | undefined;
  entries(collection: string): readonly Entry[];
  list(collection: string, list?: string): readonly Entry[];
  conflicts(collection: string): readonly Conflict[];
}

/** How changes are made: the client, or what remembers them so that they can be taken back. */
export type Writes = Pick<Syncline, 'publish'>;

/** The library as it is, or as it was at a moment that the person looks at. */
export class Lens implements Shown {
  readonly #now: Shown;
  #then: Shown | null = null;

  constructor(now: Shown) {
    this.#now = now;
  }

  get isPast(): boolean {
    return this.#then !== null;
  }

  /** null: the present again. */
  look(past: PastState | null): void {
    this.#then = past === null ? null : new Past(past);
  }

  has(collection: string, key: string): boolean {
    return this.#at.has(collection, key);
  }

  value(collection: string, key: string): Value | undefined {
    return this.#at.value(collection, key);
  }

  entries(collection: string): readonly Entry[] {
    return this.#at.entries(collection);
  }

  list(collection: string, list?: string): readonly Entry[] {
    return this.#at.list(collection, list);
  }

  conflicts(collection: string): readonly Conflict[] {
    return this.#at.conflicts(collection);
  }

  get #at(): Shown {
    return this.#then ?? this.#now;
  }
}

/** A state of the past in the shape of the present: nothing in it waits. */
class Past implements Shown {
  readonly #state: PastState;
  readonly #values = new Map<string, ReadonlyMap<string, Value>>();

  constructor(state: PastState) {
    this.#state = state;
  }

  has(collection: string, key: string): boolean {
    return this.#of(collection).has(key);
  }

  value(collection: string, key: string): Value | undefined {
    return this.#of(collection).get(key);
  }

  entries(collection: string): readonly Entry[] {
    return this.#state.entries(collection).map(settled);
  }

  list(collection: string, list?: string): readonly Entry[] {
    return this.#state.list(collection, list).map(settled);
  }

  /** A state of the past tells what was shown, not what was open. */
  conflicts(): readonly Conflict[] {
    return [];
  }

  #of(collection: string): ReadonlyMap<string, Value> {
    const known =
      this.#values.get(collection) ??
      new Map(this.#state.entries(collection).map(({ key, value }) => [key, value]));
    this.#values.set(collection, known);
    return known;
  }
}

function settled(entry: Omit<Entry, 'pending'>): Entry {
  return { ...entry, pending: false };
}
