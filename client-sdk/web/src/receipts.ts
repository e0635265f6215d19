/**
 * The save ladder: on this device, on the broker, seen by another device.
 *
 * What waits here are promises of the app; they end with the client.
 */
import { RefusedError, type Receipt, type Saved } from './api.js';
import type { Receipt as ReceiptOutput } from './core/messages.js';
import type { Devices } from './devices.js';
import { EPOCH_NONE, isUuid } from './protocol/ids.js';
import type { Published } from './driver.js';

interface Waiting {
  readonly resolve: (saved: Saved) => void;
  readonly reject: (error: Error) => void;
  /** Those that this one replaced before they were sent; they end as it does (OUTBOX-10). */
  readonly followers: Set<number>;
}

/** In which history an intent was saved. */
interface History {
  epoch: string;
}

/** What the last step looks at. */
export interface SeenOptions {
  readonly devices: Devices;
  readonly channel: string | null;
  /** The history at hand; a seq means nothing in another one. */
  readonly epoch: () => string;
}

/** The receipts of one client. */
export class Receipts {
  readonly #waiting = new Map<number, Waiting>();
  /** Those that wait for a device look again. */
  readonly #looks = new Set<(closed?: Error) => void>();
  #closed: Error | undefined;

  constructor(private readonly options: SeenOptions) {}

  /** Waits for the broker's answer to an intent. An app that does not ask for it is not troubled by its rejection. */
  expect({ id, deviceSeq }: Published): Receipt {
    const history: History = { epoch: EPOCH_NONE };
    const saved = new Promise<Saved>((resolve, reject) =>
      this.#waiting.set(id, {
        resolve: (place) => {
          history.epoch = this.options.epoch();
          resolve(place);
        },
        reject,
        followers: new Set(),
      }),
    );
    saved.catch(() => undefined);
    return {
      deviceSeq,
      saved,
      seenBy: (deviceUuid, { signal } = {}) => this.#seenBy(deviceUuid, saved, history, signal),
    };
  }

  /** The intent was never durable, so nothing comes of it, and those that it would have replaced are what they were. */
  forget(id: number, error: Error): void {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }

  take(receipt: ReceiptOutput): void {
    switch (receipt.outcome) {
      case 'saved':
        return this.#settle(receipt.id, ({ resolve }) => resolve({ seq: receipt.seq ?? null }));
      case 'refused':
        return this.#settle(receipt.id, ({ reject }) =>
          reject(new RefusedError(receipt.name, receipt.reason)),
        );
      case 'superseded':
        this.#waiting.get(receipt.by)?.followers.add(receipt.id);
    }
  }

  /**
   * Another tab leads: of what it does not know nobody can say any more what became (WEB-17). What one that it knows has replaced
   * still ends as that one does.
   */
  keepOnly(ids: ReadonlySet<number>): void {
    const kept = new Set(ids);
    // A set is gone through to its end, with what is added on the way.
    for (const id of kept) this.#waiting.get(id)?.followers.forEach((follower) => kept.add(follower));
    for (const [id, { reject }] of this.#waiting) {
      if (kept.has(id)) continue;
      this.#waiting.delete(id);
      reject(new Error(OTHER_LEADER));
    }
  }

  /** Nobody can say any more what becomes of those that wait; their intents are where they are. */
  rejectAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  /** The devices changed. */
  look(): void {
    for (const look of [...this.#looks]) look();
  }

  close(error: Error): void {
    this.#closed ??= error;
    this.rejectAll(error);
    for (const look of [...this.#looks]) look(error);
  }

  #settle(id: number, settle: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    settle(waiting);
    for (const follower of waiting.followers) this.#settle(follower, settle);
  }

  async #seenBy(
    deviceUuid: string,
    saved: Promise<Saved>,
    history: History,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const device = deviceUuid.toLowerCase();
    if (!isUuid(device)) throw new RangeError(`${JSON.stringify(deviceUuid)} is not the UUID of a device`);
    signal?.throwIfAborted();
    const { seq } = await unlessAborted(saved, signal);
    if (seq === null) throw new Error('the broker has it, but no longer knew at which place of the stream');
    await this.#untilAcked(device, seq, history, signal);
  }

  #untilAcked(device: string, seq: number, history: History, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (closed = this.#closed): void => {
        if (signal?.aborted === true) end(() => reject(signal.reason as Error));
        else if (closed !== undefined) end(() => reject(closed));
        else if (this.#isOver(history)) end(() => reject(new Error(OTHER_HISTORY)));
        else if (this.#hasAcked(device, seq)) end(resolve);
      };
      const aborted = (): void => look();
      const end = (settle: () => void): void => {
        this.#looks.delete(look);
        signal?.removeEventListener('abort', aborted);
        settle();
      };
      this.#looks.add(look);
      signal?.addEventListener('abort', aborted);
      look();
    });
  }

  /** The answer may come before the first event, which brings the epoch; and while a state is awaited, nobody knows it. */
  #isOver(history: History): boolean {
    const epoch = this.options.epoch();
    if (history.epoch === EPOCH_NONE) history.epoch = epoch;
    return epoch !== EPOCH_NONE && epoch !== history.epoch;
  }

  #hasAcked(device: string, seq: number): boolean {
    const { devices, channel } = this.options;
    return (devices.get(device)?.acked[channel ?? ''] ?? 0) >= seq;
  }
}

const OTHER_LEADER = 'another tab leads now, and does not know what became of this change';

const OTHER_HISTORY = 'the broker has another history now, in which that place means nothing';

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const aborted = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', aborted, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}
