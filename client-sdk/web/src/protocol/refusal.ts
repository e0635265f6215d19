/** Messages on a device's `errors` topic (ANSWER-5). */
import { decodeMap } from './canonical.js';
import { integerOrNull, text, textOrNull } from './fields.js';
import { DEPTH_MAX } from './value.js';

/** Why the broker refused an event for ever. */
export interface Refusal {
  /** A name of the table of permanent refusals. */
  readonly name: string;
  /** A sentence for people. */
  readonly reason: string;
}

/** A refusal and the event that it is about. */
export interface RefusalMessage extends Refusal {
  readonly syncId: string;
  readonly channel: string | null;
  readonly deviceSeq: number | null;
}

/** Reads a message of the `errors` topic. Throws `BadValueError` or `MalformedError`. */
export function decodeRefusal(payload: Uint8Array): RefusalMessage {
  const message = decodeMap(payload, DEPTH_MAX);
  return {
    name: text(message, 'error'),
    reason: text(message, 'reason'),
    syncId: text(message, 'sync_id'),
    channel: textOrNull(message, 'channel'),
    deviceSeq: integerOrNull(message, 'device_seq', 1),
  };
}
