/** Runs the scripted conversations that both cores run (client SPEC, "Conversations"). */
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { Core } from '../src/core/core.js';
import type { Input, IntentRow, Output, Saw, StoredRows } from '../src/core/messages.js';
import type { OpenAct } from '../src/protocol/entry.js';
import { encodeEvent, type Intent } from '../src/protocol/event.js';
import { SCHEMA_TOPIC, streamId } from '../src/protocol/ids.js';
import { toJson } from '../src/protocol/json.js';
import type { Value, ValueMap } from '../src/protocol/value.js';
import { decodeMessage, encodeMessage } from './wire.js';

const FOLDER = new URL('../../conversations/', import.meta.url);

type Json = { readonly [name: string]: unknown };

interface Step {
  readonly at: number;
  readonly random?: number;
  readonly in: Json;
  readonly out: readonly Json[];
  readonly timeout?: number | null;
  readonly view?: { readonly [collection: string]: ValueMap };
  readonly lists?: readonly {
    readonly collection: string;
    readonly list?: string;
    readonly items: readonly (readonly [string, Value])[];
  }[];
  readonly open_values?: { readonly [collection: string]: { readonly [key: string]: readonly ValueMap[] } };
}

export interface Conversation {
  readonly file: string;
  readonly title: string;
  readonly rules: readonly string[];
  readonly open: Json;
  readonly steps: readonly Step[];
}

export function conversations(): Conversation[] {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
  return files.sort().map((file) => {
    const text = readFileSync(new URL(file, FOLDER), 'utf8');
    return { file, ...(JSON.parse(text) as Omit<Conversation, 'file'>) };
  });
}

/** Plays every step and compares outputs exactly, in order. */
export function play(conversation: Conversation): void {
  const core = new Core(readOpen(conversation.open));
  conversation.steps.forEach((step, i) => {
    const outputs = core.handle(step.at, step.random ?? 0.5, readInput(step.in));
    const place = `${conversation.file} step ${i + 1} (${String(step.in['type'])})`;
    expect(outputs.map(printOutput), place).toEqual(step.out.map(withoutDetail));
    if (step.timeout !== undefined) expect(core.nextTimeout(), `${place} timeout`).toBe(step.timeout);
    compareViews(core, step, place);
  });
}

function compareViews(core: Core, { view, lists, open_values }: Step, place: string): void {
  for (const [collection, values] of Object.entries(view ?? {})) {
    expect(Object.fromEntries(core.values(collection)), `${place} view of ${collection}`).toEqual(values);
  }
  for (const { collection, list, items } of lists ?? []) {
    const found = core.list(collection, list ?? null).map(({ key, value }) => [key, value]);
    expect(found, `${place} list ${list} of ${collection}`).toEqual(items);
  }
  for (const [collection, entries] of Object.entries(open_values ?? {})) {
    for (const [key, acts] of Object.entries(entries)) {
      const found = core.openValues(collection, key).map(printAct);
      expect(found, `${place} open values of ${collection} ${key}`).toEqual(acts);
    }
  }
}

function printAct({ value, deviceUuid, timestamp, counter }: OpenAct): ValueMap {
  const said: ValueMap = value === undefined ? { removed: true } : { value };
  return { ...said, device_uuid: deviceUuid, timestamp, counter };
}

function readOpen(open: Json): ConstructorParameters<typeof Core>[0] {
  const stream = open['stream'] as { sync_id: string; channel: string | null };
  const stored = open['stored'] as Json | null | undefined;
  return {
    deviceUuid: open['device'] as string,
    stream: streamId(stream.sync_id, stream.channel),
    online: (open['online'] as boolean | undefined) ?? true,
    stored: stored ? readStored(stored) : null,
    ...(open['outbox_limit'] === undefined ? {} : { outboxLimit: open['outbox_limit'] as number }),
  };
}

function readStored(stored: Json): StoredRows {
  const device = stored['device'] as ValueMap;
  const intents = stored['intents'] as ValueMap[] | undefined;
  return {
    device: {
      deviceUuid: device['device_uuid'] as string,
      nextDeviceSeq: device['next_device_seq'] as number,
      offered: device['offered'] as number,
      timestamp: device['timestamp'] as number,
      counter: device['counter'] as number,
    },
    ...(intents === undefined ? {} : { intents: intents.map(readRow) }),
    ...(stored['replica'] === undefined ? {} : { replica: encodeMessage(stored['replica'] as Value) }),
    ...(stored['schema'] === undefined ? {} : { schema: stored['schema'] as ValueMap }),
  };
}

function readRow(row: ValueMap): IntentRow {
  return {
    id: row['id'] as number,
    eventType: row['event_type'] as string,
    eventData: row['event_data'] ?? null,
    deviceUuid: row['device_uuid'] as string,
    deviceSeq: row['device_seq'] as number,
    clock: { timestamp: row['timestamp'] as number, counter: row['counter'] as number },
    baseSeq: row['base_seq'] as number,
    epoch: (row['epoch'] ?? null) as string | null,
    ...(row['saw'] === undefined ? {} : { saw: readSaw(row['saw'] as ValueMap) }),
    ...(row['overtaken'] === true ? { overtaken: true } : {}),
  };
}

function readSaw({ device_uuid, ...rest }: ValueMap): Saw {
  return { ...rest, ...(device_uuid === undefined ? {} : { deviceUuid: device_uuid as string }) };
}

function printSaw({ deviceUuid, ...rest }: Saw): ValueMap {
  return { ...(rest as ValueMap), ...(deviceUuid === undefined ? {} : { device_uuid: deviceUuid }) };
}

function readInput(input: Json): Input {
  switch (input['type']) {
    case 'publish':
      return {
        type: 'publish',
        eventType: input['event_type'] as string,
        eventData: input['event_data'] as Value,
      };
    case 'connected':
      return {
        type: 'connected',
        receiveMaximum: input['receive_maximum'] as number,
        maximumPacketSize: input['maximum_packet_size'] as number | null,
      };
    case 'message':
      return { type: 'message', topic: input['topic'] as string, payload: readPayload(input) };
    case 'disconnected': {
      const { reason, taken_over } = input;
      return { type: 'disconnected', reason: reason as string, takenOver: taken_over === true };
    }
    case 'new_device':
      return { type: 'new_device', deviceUuid: input['device_uuid'] as string };
    default:
      return input as unknown as Input;
  }
}

function readPayload(input: Json): Uint8Array {
  const payload = input['payload'] as ValueMap;
  const raw = payload['$bytes'];
  if (typeof raw === 'string') return new Uint8Array(Buffer.from(raw, 'base64'));
  return input['topic'] === SCHEMA_TOPIC ? new TextEncoder().encode(toJson(payload)) : encodeMessage(payload);
}

/** What a fault says for people is each core's own. */
function withoutDetail(output: Json): Json {
  const { detail, ...rest } = output;
  return output['type'] === 'fault' ? rest : { ...output };
}

function printOutput(output: Output): unknown {
  switch (output.type) {
    case 'connect':
      return { type: 'connect', device_uuid: output.deviceUuid };
    case 'send':
      return { ...output, payload: decodeMessage(output.payload) };
    case 'event':
      return { ...output, event: decodeMessage(encodeEvent(output.event)) };
    case 'set_aside':
      return { ...output, intent: printIntent(output.intent) };
    case 'write':
      return { ...output, put: printPut(output.put) };
    case 'fault':
      return withoutDetail({ ...output });
    case 'status': {
      const { nextRetryAt, ...rest } = output;
      return nextRetryAt === undefined ? rest : { ...rest, next_retry_at: nextRetryAt };
    }
    default:
      return output;
  }
}

function printPut({ device, intents, replica, schema }: Extract<Output, { type: 'write' }>['put']): Json {
  return {
    ...(device === undefined ? {} : { device: printDevice(device) }),
    ...(intents === undefined ? {} : { intents: intents.map(printRow) }),
    ...(replica === undefined ? {} : { replica: decodeMessage(replica) }),
    ...(schema === undefined ? {} : { schema }),
  };
}

function printRow({ id, saw, overtaken, ...intent }: IntentRow): Json {
  const judged = {
    ...(saw === undefined ? {} : { saw: printSaw(saw) }),
    ...(overtaken ? { overtaken } : {}),
  };
  return { id, ...printIntent(intent), ...judged };
}

function printDevice({ deviceUuid, nextDeviceSeq, offered, timestamp, counter }: StoredRows['device']): Json {
  return { device_uuid: deviceUuid, next_device_seq: nextDeviceSeq, offered, timestamp, counter };
}

function printIntent(intent: Intent): Json {
  return {
    event_type: intent.eventType,
    event_data: intent.eventData,
    device_uuid: intent.deviceUuid,
    device_seq: intent.deviceSeq,
    ...intent.clock,
    base_seq: intent.baseSeq,
    ...(intent.epoch === null ? {} : { epoch: intent.epoch }),
  };
}
