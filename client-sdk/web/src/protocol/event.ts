/** Events as the broker delivers them and intents as a device sends them (SPEC "Events"). */
import { decodeMap, encodeCanonical } from './canonical.js';
import type { Clock } from './clock.js';
import { hex, integer, integerOrNull, text, textOrNull, bytes } from './fields.js';
import { uuidBytes, uuidText } from './ids.js';
import { DEPTH_MAX, type Value, type ValueMap } from './value.js';

/** An event as the broker ordered it. */
export interface SyncEvent {
  /** The sync group. */
  readonly syncId: string;
  /** null: the default channel. */
  readonly channel: string | null;
  /** 16 hex digits. */
  readonly epoch: string;
  /** Its place in its stream: 1, 2, 3 … */
  readonly seq: number;
  /** Unix milliseconds, the broker's clock. */
  readonly acceptedAt: number;
  /** What kind of intent it is. */
  readonly eventType: string;
  /** Its details. */
  readonly eventData: Value;
  /** 36 characters. */
  readonly deviceUuid: string;
  /** null: the device gave none, and the event was not deduplicated. */
  readonly deviceSeq: number | null;
  /** When the user acted: Unix milliseconds of the device's clock, and a count among equal ones. */
  readonly timestamp: number;
  /** See `timestamp`. */
  readonly counter: number;
  /** The highest seq that the device had applied when the user acted. */
  readonly baseSeq: number;
  /** Names that this version does not know, kept as they came (EVENT-2). */
  readonly extra: ValueMap;
}

/** What a device asks the broker to order. */
export interface Intent {
  readonly eventType: string;
  readonly eventData: Value;
  readonly deviceUuid: string;
  readonly deviceSeq: number;
  readonly clock: Clock;
  /** The highest seq that the device had applied when the user acted, and of which history (null: of none yet). */
  readonly baseSeq: number;
  readonly epoch: string | null;
}

const EVENT_NAMES: ReadonlySet<string> = new Set([
  'event_type',
  'event_data',
  'device_uuid',
  'device_seq',
  'timestamp',
  'counter',
  'base_seq',
  'epoch',
  'seq',
  'accepted_at',
  'sync_id',
  'channel',
]);

/** Reads a delivered event. Throws `BadValueError` or `MalformedError`. */
export function decodeEvent(payload: Uint8Array): SyncEvent {
  const map = decodeMap(payload, DEPTH_MAX + 1);
  return {
    syncId: text(map, 'sync_id'),
    channel: textOrNull(map, 'channel'),
    epoch: hex(map, 'epoch', 16),
    seq: integer(map, 'seq', 1),
    acceptedAt: integer(map, 'accepted_at'),
    eventType: text(map, 'event_type'),
    eventData: map['event_data'] ?? null,
    deviceUuid: uuidText(bytes(map, 'device_uuid', 16)),
    deviceSeq: integerOrNull(map, 'device_seq', 1),
    timestamp: integer(map, 'timestamp'),
    counter: integer(map, 'counter'),
    baseSeq: integer(map, 'base_seq'),
    extra: Object.fromEntries(Object.entries(map).filter(([name]) => !EVENT_NAMES.has(name))),
  };
}

/** The canonical MessagePack of a delivered event (EVENT-1). */
export function encodeEvent(event: SyncEvent): Uint8Array {
  return encodeCanonical({
    ...event.extra,
    sync_id: event.syncId,
    channel: event.channel,
    epoch: event.epoch,
    seq: event.seq,
    accepted_at: event.acceptedAt,
    event_type: event.eventType,
    event_data: event.eventData,
    device_uuid: uuidBytes(event.deviceUuid),
    ...(event.deviceSeq === null ? {} : { device_seq: event.deviceSeq }),
    timestamp: event.timestamp,
    counter: event.counter,
    base_seq: event.baseSeq,
  });
}

/** The canonical MessagePack of a request. */
export function encodeIntent(intent: Intent): Uint8Array {
  return encodeCanonical({
    event_type: intent.eventType,
    event_data: intent.eventData,
    device_uuid: uuidBytes(intent.deviceUuid),
    device_seq: intent.deviceSeq,
    timestamp: intent.clock.timestamp,
    counter: intent.clock.counter,
    base_seq: intent.baseSeq,
    ...(intent.epoch === null ? {} : { epoch: intent.epoch }),
  });
}
