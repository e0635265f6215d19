/** Presence messages (PRESENCE-1). */
import { decodeMap } from './canonical.js';
import { boolean, integer, map, textOrNull } from './fields.js';
import { DEPTH_MAX } from './value.js';

/** What the broker says about one device of a group. */
export interface Presence {
  /** 36 characters. */
  readonly deviceUuid: string;
  /** Whether it is connected now. */
  readonly online: boolean;
  /** Unix milliseconds of the last change of `online`. */
  readonly since: number;
  /** What people call it; null: it gave no name. */
  readonly name: string | null;
  /** Channel (`""`: the default one) to the highest seq that the device acknowledged. */
  readonly acked: Readonly<Record<string, number>>;
}

/** Reads the presence message of the device that its topic names. Throws `BadValueError` or `MalformedError`. */
export function decodePresence(deviceUuid: string, payload: Uint8Array): Presence {
  const message = decodeMap(payload, DEPTH_MAX);
  const acked = map(message, 'acked');
  return {
    deviceUuid,
    online: boolean(message, 'online'),
    since: integer(message, 'since'),
    name: textOrNull(message, 'name'),
    acked: Object.fromEntries(Object.keys(acked).map((channel) => [channel, integer(acked, channel)])),
  };
}
