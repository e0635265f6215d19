import { eventsOf, stateAt, type HistoryOptions, type PastState, type SyncEvent } from '../../src/index.js';

/** Of the events that are still kept, as many of the last ones can be looked at. */
const EVENTS_KEPT = 1_000;
const STATES_KEPT = 40;

/** The stream's past: its events, and the state behind each. */
export class PastReader {
  readonly #options: HistoryOptions;
  readonly #states = new Map<number, PastState>();
  #events: SyncEvent[] = [];

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** Ascending. */
  get events(): readonly SyncEvent[] {
    return this.#events;
  }

  /** Reads the events up to `head`. */
  async open(head: number): Promise<void> {
    const events: SyncEvent[] = [];
    for await (const event of eventsOf(this.#options, { until: head })) {
      events.push(event);
      if (events.length > EVENTS_KEPT) events.shift();
    }
    const last = events.at(-1)?.seq ?? 0;
    // What came meanwhile.
    this.#events = [...events, ...this.#events.filter(({ seq }) => seq > last)];
  }

  /** An event that has just come. */
  push(event: SyncEvent): void {
    if (event.seq > (this.#events.at(-1)?.seq ?? 0)) this.#events.push(event);
  }

  async state(seq: number, signal: AbortSignal): Promise<PastState> {
    const known = this.#states.get(seq);
    if (known !== undefined) return known;
    const state = await stateAt({ ...this.#options, signal }, seq);
    this.#states.set(seq, state);
    const [oldest] = this.#states.keys();
    if (this.#states.size > STATES_KEPT && oldest !== undefined) this.#states.delete(oldest);
    return state;
  }
}
