/** What goes into a core and what comes out (client SPEC, "Inputs" and "Outputs"). */
import type { Intent, SyncEvent } from '../protocol/event.js';
import type { StreamId } from '../protocol/ids.js';
import type { Refusal } from '../protocol/refusal.js';
import type { Value, ValueMap } from '../protocol/value.js';

/** What a core starts from. */
export interface CoreOptions {
  /** Used only without stored rows (OPEN-1, OPEN-2). */
  readonly deviceUuid: string;
  readonly stream: StreamId;
  readonly stored: StoredRows | null;
  readonly online: boolean;
  /** The most intents that may wait (OUTBOX-3). Default 10,000. */
  readonly outboxLimit?: number;
}

/** What an earlier core had its driver store. */
export interface StoredRows {
  readonly device: DeviceRow;
  readonly intents?: readonly IntentRow[];
  /** A full snapshot in canonical MessagePack. */
  readonly replica?: Uint8Array;
  /** The map of SCHEMA-2. */
  readonly schema?: ValueMap;
}

/** The device's own numbers. */
export interface DeviceRow {
  readonly deviceUuid: string;
  readonly nextDeviceSeq: number;
  /** The highest `device_seq` that may ever have been sent (OUTBOX-5). */
  readonly offered: number;
  /** The highest clock known. */
  readonly timestamp: number;
  readonly counter: number;
}

/** An intent under its name in the store (STORE-2). */
export interface IntentRow extends Intent {
  readonly id: number;
  /** What the replica had at its entry when the user acted (STORE-5); absent: not known. */
  readonly saw?: Saw;
  /** Refused as `overtaken`, and not judged yet (REFUSE-5). */
  readonly overtaken?: true;
  /** The driver's: by which request it came, so that it is not made twice (WEB-17). */
  readonly request?: string;
}

/** An entry by what tells it from a later one; empty: there was none. */
export interface Saw {
  readonly changed?: number;
  readonly deviceUuid?: string;
  readonly timestamp?: number;
  readonly counter?: number;
  readonly removed?: true;
}

/** An intent that the broker has not acknowledged. */
export interface PendingIntent {
  readonly id: number;
  readonly intent: Intent;
  /** In the outbox; on its way; or refused as `overtaken`, and not judged yet (REFUSE-5). */
  readonly stage: 'waiting' | 'sent' | 'overtaken';
}

/** The broker's answer to one publish. */
export type Answer = { readonly saved: number } | { readonly repeat: number } | { readonly refused: Refusal };

export type Input =
  | { readonly type: 'open' }
  | { readonly type: 'publish'; readonly eventType: string; readonly eventData: Value }
  | { readonly type: 'persisted'; readonly write: number }
  | { readonly type: 'connected'; readonly receiveMaximum: number; readonly maximumPacketSize: number | null }
  | { readonly type: 'message'; readonly topic: string; readonly payload: Uint8Array }
  | { readonly type: 'acked'; readonly id: number; readonly answer: Answer }
  /** `takenOver`: the broker gave the session to another connection of this device (FORK-5). */
  | { readonly type: 'disconnected'; readonly reason: string; readonly takenOver: boolean }
  | { readonly type: 'timeout' }
  | { readonly type: 'set_online'; readonly online: boolean }
  | { readonly type: 'new_device'; readonly deviceUuid: string };

/** One durable change: deletes intents, then puts; names that are absent are not touched (STORE-1). */
export interface Write {
  readonly type: 'write';
  readonly write: number;
  readonly put: {
    readonly device?: DeviceRow;
    readonly intents?: readonly IntentRow[];
    readonly replica?: Uint8Array;
    readonly schema?: ValueMap;
  };
  readonly delete: readonly number[];
}

/** How an intent ended. */
export type Receipt =
  | { readonly type: 'receipt'; readonly id: number; readonly outcome: 'saved'; readonly seq?: number }
  /** It ends as the intent `by` does (OUTBOX-10). */
  | { readonly type: 'receipt'; readonly id: number; readonly outcome: 'superseded'; readonly by: number }
  | ({ readonly type: 'receipt'; readonly id: number; readonly outcome: 'refused' } & Refusal);

/** Who broke a rule. */
export type FaultKind = 'storage' | 'delta' | 'digest' | 'gap' | 'bad_message' | 'schema';

/** STATUS-1. Names that do not apply are absent. */
export interface CoreStatus {
  readonly type: 'status';
  readonly phase: 'offline' | 'connecting' | 'online';
  readonly pending: number;
  readonly label: 'saved' | 'saving' | 'offline';
  readonly nextRetryAt?: number;
  readonly reason?: string;
}

export type Output =
  | { readonly type: 'rejected'; readonly reason: string }
  | { readonly type: 'mint_device' }
  | { readonly type: 'disconnect' }
  | { readonly type: 'connect'; readonly deviceUuid: string }
  | { readonly type: 'subscribe'; readonly filter: string }
  | Write
  | { readonly type: 'stored'; readonly id: number }
  | { readonly type: 'send'; readonly id: number; readonly topic: string; readonly payload: Uint8Array }
  | Receipt
  | ({ readonly type: 'set_aside'; readonly id: number; readonly intent: Intent } & Refusal)
  | { readonly type: 'event'; readonly event: SyncEvent; readonly own: boolean }
  | { readonly type: 'schema_changed'; readonly hash: string }
  | { readonly type: 'fault'; readonly kind: FaultKind; readonly detail: string }
  | { readonly type: 'changed'; readonly collection: string; readonly keys: readonly string[] }
  | CoreStatus;

/** The order in which the outputs of one input are given (ORDER-1). */
export const OUTPUT_ORDER: readonly Output['type'][] = [
  'rejected',
  'mint_device',
  'disconnect',
  'connect',
  'subscribe',
  'write',
  'stored',
  'send',
  'receipt',
  'set_aside',
  'event',
  'schema_changed',
  'fault',
  'changed',
  'status',
];
