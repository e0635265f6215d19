/** Messages between their JSON form, as golden files and conversations have them, and MessagePack. */
import { encodeCanonical, decodeMap } from '../src/protocol/canonical.js';
import { uuidBytes, uuidText } from '../src/protocol/ids.js';
import { isMap, type Value, type ValueMap } from '../src/protocol/value.js';

/** More than any message needs. */
const DEPTH = 40;

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function unhex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** The canonical MessagePack of a message in JSON form. `{"$bytes": …}` alone is raw bytes already. */
export function encodeMessage(message: Value): Uint8Array {
  if (message instanceof Uint8Array) return message;
  return encodeCanonical(mapUuids(message, (uuid) => (typeof uuid === 'string' ? uuidBytes(uuid) : uuid)));
}

/** The JSON form of a message in MessagePack. */
export function decodeMessage(payload: Uint8Array): ValueMap {
  const message = mapUuids(decodeMap(payload, DEPTH), (uuid) =>
    uuid instanceof Uint8Array ? uuidText(uuid) : uuid,
  );
  return message as ValueMap;
}

/** Changes `device_uuid` of the message itself, of the entries of its `collections` and of their `conflicts`. */
function mapUuids(message: Value, change: (uuid: Value) => Value): Value {
  if (!isMap(message)) return message;
  const collections = message['collections'];
  const inner = isMap(collections)
    ? {
        collections: mapMembers(collections, (entries) =>
          mapMembers(entries, (one) => mapEntry(one, change)),
        ),
      }
    : {};
  return { ...message, ...mapOwn(message, change), ...inner };
}

function mapEntry(entry: Value, change: (uuid: Value) => Value): Value {
  if (!isMap(entry)) return entry;
  const conflicts = entry['conflicts'];
  const inner = Array.isArray(conflicts)
    ? { conflicts: (conflicts as readonly Value[]).map((act) => mapEntry(act, change)) }
    : {};
  return { ...entry, ...mapOwn(entry, change), ...inner };
}

function mapOwn(map: ValueMap, change: (uuid: Value) => Value): ValueMap {
  return 'device_uuid' in map ? { device_uuid: change(map['device_uuid'] ?? null) } : {};
}

function mapMembers(map: Value, change: (member: Value) => Value): Value {
  if (!isMap(map)) return map;
  return Object.fromEntries(Object.entries(map).map(([key, member]) => [key, change(member)]));
}
