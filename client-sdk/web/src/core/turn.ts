/** One input's turn: gathers the outputs, and everything that becomes durable as one write. */
import type { ValueMap } from '../protocol/value.js';
import { OUTPUT_ORDER, type Output, type Write } from './messages.js';
import { rowOf, type Pending } from './outbox.js';

/** The outputs of one input, and the write that they wait for. */
export class Turn {
  readonly #outputs: Output[] = [];
  readonly #intents = new Set<Pending>();
  readonly #deleted: number[] = [];
  #device = false;
  #replica: Uint8Array | undefined;
  #schema: ValueMap | undefined;

  constructor(
    readonly now: number,
    readonly random: number,
    /** The number that this input's write has, if there is one. */
    readonly write: number,
  ) {}

  emit(output: Output): void {
    this.#outputs.push(output);
  }

  putDevice(): void {
    this.#device = true;
  }

  /** Stores an intent's row; it is not sent before that is durable. */
  putIntent(pending: Pending): void {
    pending.needs = this.write;
    this.#intents.add(pending);
  }

  putReplica(replica: Uint8Array | undefined): void {
    this.#replica = replica;
  }

  putSchema(schema: ValueMap | undefined): void {
    this.#schema = schema;
  }

  deleteIntents(ids: readonly number[]): void {
    this.#deleted.push(...ids);
  }

  /** Whether this turn has anything to store. */
  get hasWrite(): boolean {
    const replica = this.#replica ?? this.#schema;
    return this.#device || this.#intents.size > 0 || this.#deleted.length > 0 || replica !== undefined;
  }

  /** The write of this turn, undefined if nothing is to be stored. */
  takeWrite(device: () => NonNullable<Write['put']['device']>): Write | undefined {
    if (!this.hasWrite) return undefined;
    const intents = [...this.#intents].filter(({ id }) => !this.#deleted.includes(id));
    const put: Write['put'] = {
      ...(this.#device ? { device: device() } : {}),
      ...(intents.length > 0 ? { intents: intents.map(rowOf) } : {}),
      ...(this.#replica === undefined ? {} : { replica: this.#replica }),
      ...(this.#schema === undefined ? {} : { schema: this.#schema }),
    };
    return { type: 'write', write: this.write, put, delete: this.#deleted.sort((a, b) => a - b) };
  }

  /** All outputs in the order of ORDER-1. */
  finish(): Output[] {
    const rank = ({ type }: Output): number => OUTPUT_ORDER.indexOf(type);
    return this.#outputs.sort((a, b) => rank(a) - rank(b));
  }
}
