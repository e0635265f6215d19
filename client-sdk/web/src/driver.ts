/** What a client is driven by: a runner of its own, or the one of another tab. */
import type { Core } from './core/core.js';
import type { Value } from './protocol/value.js';

/** What is read of a core. */
export type CoreView = Pick<
  Core,
  | 'deviceUuid'
  | 'seq'
  | 'inputs'
  | 'epoch'
  | 'schema'
  | 'pending'
  | 'status'
  | 'entries'
  | 'list'
  | 'openValues'
  | 'isPending'
>;

/** An intent that was given to a core. */
export interface Published {
  readonly id: number;
  readonly deviceSeq: number;
}

/** See above. */
export interface Driver {
  readonly core: CoreView;
  /** Whether this page holds the connection. */
  readonly leads: boolean;
  /** Whether the app wants to be online, as another tab said; undefined: only this one can say so. */
  readonly wanted?: boolean;
  start(): void;
  setOnline(online: boolean): void;
  /** It is worth looking: connects at once, or finds out whether the connection that stands is alive (WEB-10). */
  wake(): void;
  /**
   * Resolves once the intent is durable here; `taken` is called before anything more can come of it, and again if it has to be
   * taken anew. Rejects with a `RefusedError` if it is not taken at all. `request` is a random word: what was taken under it is
   * not taken twice.
   */
  publish(
    eventType: string,
    eventData: Value,
    taken: (published: Published) => void,
    request: string,
  ): Promise<Published>;
  /** Resolves once everything that was written is durable, and nothing more comes. */
  stop(): Promise<void>;
  /** Ends at once, and writes nothing more. */
  end(error: Error): void;
}
