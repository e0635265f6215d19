// Compares canonical forms, digests and merges with another implementation's. Reads JSON lines, writes one line each:
//
//   {"value": <value>}                           -> the hex of its canonical MessagePack
//   {"collection": c, "key": k, "entry": <map>}  -> the entry's digest, 32 hex digits
//   {"schema": <map of SCHEMA-2>}                -> its hash; it holds for the lines that follow
//   {"events": [<event>…], "lists": [<list or null>…], "snapshots": [<hex>…]}
//     -> the hex of the full snapshot after these events, and [[collection, list, [key…]]…] of the lists with items
//
// `snapshots` are parts: of full states and of deltas, in order. They lead to a seq; from there the events lead to the
// end, and both ways must lead to the same. Entries and events are in JSON form: `device_uuid` as text. What breaks a
// rule gives "refused <rule>". Run it after `npm run build`, or with it:   npm run --silent differential < lines
import { createInterface } from 'node:readline';
import {
  applySnapshot,
  Assembler,
  decodeEvent,
  decodeSnapshot,
  digestText,
  encodeCanonical,
  encodeSnapshot,
  entryDigest,
  fromJson,
  Schema,
  snapshotOf,
  State,
  toHex,
  toValue,
  uuidBytes,
} from '../dist/protocol/index.js';

/** Room for the request around what it carries: a value may be 32 deep by itself. */
const REQUEST_DEPTH = 36;

let schema;

function answer(line) {
  try {
    const request = fromJson(line, REQUEST_DEPTH);
    if ('schema' in request) return adopt(Schema.fromMap(request.schema));
    if ('value' in request) return toHex(encodeCanonical(toValue(request.value)));
    if ('events' in request) return outcome(request);
    return digestText(entryDigest(request.collection, request.key, onWire(request.entry)));
  } catch (error) {
    return `refused ${error.rule ?? error.message}`;
  }
}

function adopt(given) {
  schema = given;
  return schema.hash;
}

/** What a log amounts to, if both ways lead to the same. */
function outcome({ events, lists, snapshots }) {
  const stream = { syncId: 'home', channel: null };
  const log = events.map((event) => decodeEvent(encodeCanonical(onWire(event))));
  const [whole, resumed] = [new State(schema), reached(snapshots)];
  for (const event of log) whole.apply(event);
  for (const event of log.slice(resumed.seq)) resumed.apply(event);
  const [bytes, again] = [whole, resumed].map((state) => toHex(encodeSnapshot(snapshotOf(stream, state))));
  if (bytes !== again) return `differs from ${resumed.seq} on: ${bytes} ${again}`;
  const found = whole.schema.collections.flatMap((name) =>
    lists.map((list) => [name, list, whole.list(name, list).map(({ key }) => key)]),
  );
  return `${bytes} ${JSON.stringify(found.filter(([, , keys]) => keys.length > 0))}`;
}

/** The state that snapshots lead to. */
function reached(snapshots) {
  const assembler = new Assembler();
  let state = new State(schema);
  for (const part of snapshots) {
    const snapshot = assembler.push(decodeSnapshot(Buffer.from(part, 'hex')));
    if (snapshot === undefined) continue;
    if (snapshot.since === 0) state = new State(schema);
    applySnapshot(state, snapshot);
    if (state.digest() !== snapshot.digest) throw new Error(`digest at ${snapshot.seq}`);
  }
  return state;
}

function onWire(map) {
  return { ...map, device_uuid: uuidBytes(map.device_uuid) };
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line !== '') process.stdout.write(`${answer(line)}\n`);
}
