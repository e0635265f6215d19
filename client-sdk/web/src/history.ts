/**
 * What was: events and states of a stream's past, over a short connection of its own, so that the live stream of an open client
 * is not disturbed. Nothing of it is stored here.
 */
import { RefusedError, type Entry, type SynclineOptions } from './api.js';
import { isLive, type StateEntry } from './protocol/entry.js';
import { decodeEvent, type SyncEvent } from './protocol/event.js';
import { eventsTopic, stateTopic, streamId, toHex } from './protocol/ids.js';
import { itemsOf } from './protocol/list.js';
import { Assembler, decodeSnapshot, type Snapshot } from './protocol/snapshot.js';
import { compareUtf8 } from './protocol/value.js';
import { credentialsOf } from './transport/credentials.js';
import { MqttTransport } from './transport/mqtt.js';
import type { Link } from './transport/transport.js';

/** Of which stream, and who asks; the same as of the open client. `signal` ends it, with its reason. */
export type HistoryOptions = Pick<
  SynclineOptions,
  'url' | 'syncId' | 'channel' | 'username' | 'password' | 'token'
> & { readonly signal?: AbortSignal };

/** What of the events is asked for. */
export interface Stretch {
  /** Those behind this seq; left out: all that are still kept. */
  readonly after?: number;
  /** Ends behind this seq, for example the `seq` of an open client; left out: goes on with what comes. */
  readonly until?: number;
}

/** What stood at a moment. */
export interface PastState {
  readonly seq: number;
  /** The live entries, ascending by the UTF-8 bytes of their keys. Empty where the schema of then had no such collection. */
  entries(collection: string): readonly Omit<Entry, 'pending'>[];
  /** The items of a list in their order; `list`: which one, where the collection has several. */
  list(collection: string, list?: string): readonly Omit<Entry, 'pending'>[];
}

/**
 * The state as of `seq`, from the horizon to the head (VIEW-7). Rejects with a {@link RefusedError} that says why: `not_kept`, with from
 * where to where the states are, or `not_allowed`; with an `Error` if there is no connection or it ends before.
 */
export async function stateAt(options: HistoryOptions, seq: number): Promise<PastState> {
  if (!Number.isSafeInteger(seq) || seq < 0) throw new RangeError(`${seq} is not a seq`);
  const topic = stateTopic(streamOf(options));
  const assembler = new Assembler();
  for await (const { payload } of messages(options, `$at/${seq}/${topic}`)) {
    const snapshot = assembler.push(decodeSnapshot(payload));
    if (snapshot !== undefined) return pastState(snapshot);
  }
  throw new Error('the connection ended before the state came');
}

/**
 * Events in their order (VIEW-3): who (`deviceUuid`), when (`acceptedAt`) and what. Ends with `until`, or when the loop over it
 * is left. Throws a {@link RefusedError} `not_kept` if some behind `after` are gone, which says from where on they are kept; else as
 * {@link stateAt}.
 */
export async function* eventsOf(
  options: HistoryOptions,
  { after, until = Infinity }: Stretch = {},
): AsyncGenerator<SyncEvent, void, void> {
  const begin = after ?? 0;
  if (!Number.isSafeInteger(begin) || begin < 0) throw new RangeError(`${begin} is not a seq`);
  if (begin >= until) return;
  const stream = streamOf(options);
  for await (const { topic, payload } of messages(options, `$since/${begin}/${eventsTopic(stream)}`)) {
    if (topic === stateTopic(stream)) {
      const { seq } = decodeSnapshot(payload);
      // Only those that the app named are missed.
      if (after !== undefined)
        throw notKept(`the events up to ${seq} are not kept: ask for those after ${seq}`);
      if (seq >= until) return;
      continue;
    }
    const event = decodeEvent(payload);
    if (event.seq > until) return;
    yield event;
    if (event.seq === until) return;
  }
}

function streamOf({ syncId, channel }: HistoryOptions): ReturnType<typeof streamId> {
  return streamId(syncId, channel ?? null);
}

function pastState({ seq, collections }: Snapshot): PastState {
  const of = (collection: string): ReadonlyMap<string, StateEntry> =>
    collections.get(collection) ?? new Map<string, StateEntry>();
  return {
    seq,
    entries: (collection) =>
      [...of(collection)]
        .flatMap(([key, { shown }]) => (isLive(shown) ? [{ key, value: shown.value }] : []))
        .sort((a, b) => compareUtf8(a.key, b.key)),
    list: (collection, list) => itemsOf(of(collection), list ?? null),
  };
}

// One connection

const NOT_KEPT = 0x83;
/** Of the client id: two never meet. */
const RANDOM_BYTES = 12;

function notKept(reason: string): RefusedError {
  return new RefusedError('not_kept', reason);
}

interface Message {
  readonly topic: string;
  readonly payload: Uint8Array;
}

/** What one subscription brings, until the loop over it is left. */
async function* messages(options: HistoryOptions, filter: string): AsyncGenerator<Message, void, void> {
  const { signal } = options;
  signal?.throwIfAborted();
  const queue = new Queue<Message>();
  // Not a UUID, by which it would be a device of the group that is here (PRESENCE-2).
  const client = `history-${toHex(crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)))}`;
  const transport = new MqttTransport(options.url, null, credentialsOf(options), { isDevice: false });
  const link: Link = transport.connect(client, {
    connected: () =>
      link.subscribe(filter, true, (code, reason) =>
        queue.fail(code === NOT_KEPT ? notKept(reason) : new RefusedError('not_allowed', reason)),
      ),
    message: (topic, payload) => queue.push({ topic, payload }),
    disconnected: (reason) => queue.fail(new Error(reason)),
  });
  const aborted = (): void => queue.fail(signal?.reason);
  signal?.addEventListener('abort', aborted);
  try {
    for (;;) yield await queue.next();
  } finally {
    signal?.removeEventListener('abort', aborted);
    link.close();
  }
}

/** What came, in order, and then why nothing more comes. */
class Queue<T> {
  readonly #items: T[] = [];
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => undefined;

  push(item: T): void {
    this.#items.push(item);
    this.#wake();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  async next(): Promise<T> {
    while (this.#items.length === 0) {
      if (this.#failure !== undefined) throw this.#failure.error;
      await new Promise<void>((wake) => (this.#wake = wake));
    }
    return this.#items.shift() as T;
  }
}
