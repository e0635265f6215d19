/** When the replica is written: lazily, one write at a time (STORE-3). */

const SAVE_AFTER_MS = 1_000;

/** What the storage does not have yet, the outbox apart. */
export class Saves {
  #due: number | undefined;
  #onItsWay: number | undefined;
  /** Whether the schema is not stored yet. */
  schemaIsNew = false;
  /** Whether there is a schema in the store, be it an older one. */
  schemaIsStored = false;

  /** Something changed that no replica write has. */
  changed(now: number): void {
    this.#due ??= now + SAVE_AFTER_MS;
  }

  /** What is due some time is due now. */
  hurry(now: number): void {
    if (this.#due !== undefined) this.#due = Math.min(this.#due, now);
  }

  persisted(write: number): void {
    if (this.#onItsWay !== undefined && this.#onItsWay <= write) this.#onItsWay = undefined;
  }

  /** When a write is wanted. While one is on its way, its `persisted` is what is waited for. */
  get timeout(): number | undefined {
    return this.#onItsWay === undefined ? this.#due : undefined;
  }

  isDue(now: number): boolean {
    return this.timeout !== undefined && now >= this.timeout;
  }

  started(write: number): void {
    this.#due = undefined;
    this.#onItsWay = write;
    this.schemaStored();
  }

  /** A write has the schema at hand. */
  schemaStored(): void {
    this.schemaIsStored ||= this.schemaIsNew;
    this.schemaIsNew = false;
  }
}
