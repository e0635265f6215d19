/** Names and numbers that identify things, and the topics made of them (SPEC "Topics"). */

/** The epoch of a stream without events. */
export const EPOCH_NONE = '0000000000000000';

const UUID_TEXT = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NAME_TEXT = /^[A-Za-z0-9._-]{1,64}$/;
const RESERVED_CHANNELS: readonly string[] = ['events', 'state', 'presence', 'errors', '__proto__'];

/** Whether a text is a name of TOPIC-1 that an object can have. */
export function isName(text: string): boolean {
  return NAME_TEXT.test(text) && text !== '__proto__';
}

/** One stream: a group and a channel, null for the default one. */
export interface StreamId {
  readonly syncId: string;
  readonly channel: string | null;
}

/** Checks the names of a stream (TOPIC-1, TOPIC-2). Throws a `RangeError` that says which is wrong. */
export function streamId(syncId: string, channel: string | null): StreamId {
  if (!NAME_TEXT.test(syncId)) throw new RangeError(`sync id ${JSON.stringify(syncId)} breaks TOPIC-1`);
  if (channel !== null && (!NAME_TEXT.test(channel) || RESERVED_CHANNELS.includes(channel))) {
    throw new RangeError(`channel ${JSON.stringify(channel)} breaks TOPIC-1 or TOPIC-2`);
  }
  return { syncId, channel };
}

/** `sync/<sync_id>[/<channel>]/events`. */
export function eventsTopic(stream: StreamId): string {
  return `${prefix(stream)}/events`;
}

/** `sync/<sync_id>[/<channel>]/state`. */
export function stateTopic(stream: StreamId): string {
  return `${prefix(stream)}/state`;
}

/** The filter that opens a stream after a cursor (VIEW-4). */
export function sinceFilter(stream: StreamId, seq: number, epoch: string): string {
  return `$since/${seq}-${epoch === EPOCH_NONE ? '0' : epoch}/${eventsTopic(stream)}`;
}

/** Where the broker tells a device what it refused (ANSWER-5). */
export function errorsTopic(syncId: string, deviceUuid: string): string {
  return `sync/${syncId}/errors/${deviceUuid}`;
}

/** Presence of every device of a group. */
export function presenceFilter(syncId: string): string {
  return `sync/${syncId}/presence/+`;
}

/** The device in a presence topic of this group; undefined for any other topic. */
export function presenceDevice(syncId: string, topic: string): string | undefined {
  const start = `sync/${syncId}/presence/`;
  const device = topic.slice(start.length);
  return topic.startsWith(start) && isUuid(device) ? device : undefined;
}

/** Where the broker keeps the schema (SCHEMA-3). */
export const SCHEMA_TOPIC = '$SYS/broker/schema';

/** Whether a text is a UUID in its 36-character, lowercase form. */
export function isUuid(text: string): boolean {
  return UUID_TEXT.test(text);
}

/** A version 4 UUID of 16 random bytes. */
export function uuidV4(random: Uint8Array): string {
  const bytes = random.slice(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return uuidText(bytes);
}

/** The text of 16 bytes. Lowercase, so texts compare as their bytes do (STATE-4). */
export function uuidText(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError('a UUID has 16 bytes');
  const hex = toHex(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The 16 bytes of a UUID's text. */
export function uuidBytes(text: string): Uint8Array {
  if (!isUuid(text)) throw new RangeError(`${JSON.stringify(text)} is not a UUID`);
  return fromHex(text.replaceAll('-', ''));
}

/** The two digits of each byte: a snapshot has a UUID and a digest for each entry. */
const DIGITS = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Lowercase hex digits. */
export function toHex(bytes: Uint8Array): string {
  let hex = '';
  for (const byte of bytes) hex += DIGITS[byte];
  return hex;
}

function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

function prefix(stream: StreamId): string {
  return stream.channel === null ? `sync/${stream.syncId}` : `sync/${stream.syncId}/${stream.channel}`;
}
