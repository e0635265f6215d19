/**
 * A broker in this process, true to the wire as far as a client can see: orders, deduplicates, keeps a log and marks,
 * opens `$since`, delivers, tells presence. Messages arrive later, never during the call that caused them.
 */
import type { Answer } from '../src/core/messages.js';
import { encodeCanonical, decodeMap } from '../src/protocol/canonical.js';
import { isLive } from '../src/protocol/entry.js';
import { decodeEvent, encodeEvent, type SyncEvent } from '../src/protocol/event.js';
import { eventsTopic, SCHEMA_TOPIC, stateTopic, streamId, uuidText } from '../src/protocol/ids.js';
import { encodeSnapshot, snapshotOf } from '../src/protocol/snapshot.js';
import { State } from '../src/protocol/state.js';
import type { Refusal } from '../src/protocol/refusal.js';
import type { Value } from '../src/protocol/value.js';
import type { Ending, Link, LinkListener, Transport } from '../src/transport/transport.js';
import { Schema } from '../src/protocol/schema.js';
import { MUSIC, schemaDocument } from './golden.js';

const STREAM = streamId('music', null);
export class FakeBroker {
  #epoch = '00c0ffee00c0ffee';
  readonly log: SyncEvent[] = [];
  readonly links = new Map<string, FakeLink>();
  /** Devices in the order in which they connected. */
  readonly joined: string[] = [];
  readonly #marks = new Map<string, number>();
  readonly #schema = schemaDocument(MUSIC);
  state = new State(Schema.fromDocument(this.#schema));
  /** Whether connections can be made. */
  reachable = true;
  /** Event types that are refused for ever. */
  readonly refused = new Map<string, Refusal>();
  /** How connections end that are not made. */
  unauthorized: Ending | undefined;
  /** How many were asked for. */
  attempts = 0;
  /** Connections stand, but nothing is heard on them. */
  deaf = false;
  probes = 0;
  /** Accepts and delivers, but its answers are lost. */
  mute = false;

  transport(name: string | null = null): Transport {
    return { connect: (device, listener) => new FakeLink(this, device, name, listener) };
  }

  /** As after a restore: an empty history that has one event of its own. */
  beginAnew(epoch: string): void {
    this.#epoch = epoch;
    this.log.splice(0);
    this.#marks.clear();
    this.state = new State(Schema.fromDocument(this.#schema));
    const event = { event_type: 'other', event_data: null, device_uuid: new Uint8Array(16), base_seq: 0 };
    this.#accept({ ...event, device_seq: null, timestamp: 1, counter: 0, epoch, seq: 1, ...this.#rest() });
  }

  /** Ends all connections, as a network does. */
  cut(): void {
    for (const link of [...this.links.values()]) link.end('cut', 'lost');
  }

  join(link: FakeLink): void {
    this.links.get(link.device)?.end('taken over', 'taken_over');
    this.links.set(link.device, link);
    this.joined.push(link.device);
    for (const other of this.links.values()) this.#tellPresence(other, link, true);
    for (const other of this.links.values()) if (other !== link) this.#tellPresence(link, other, true);
  }

  leave(link: FakeLink): void {
    if (this.links.get(link.device) !== link) return;
    this.links.delete(link.device);
    for (const other of this.links.values()) this.#tellPresence(other, link, false);
  }

  subscribe(link: FakeLink, filter: string): void {
    if (filter === SCHEMA_TOPIC) return link.deliver(SCHEMA_TOPIC, new TextEncoder().encode(this.#schema));
    const [, seq, epoch] = /^\$since\/(\d+)-([0-9a-f]+)\//.exec(filter) ?? [];
    if (seq === undefined) return;
    link.deliver(stateTopic(STREAM), this.#opening(link.device, epoch === this.#epoch ? Number(seq) : 0));
    link.follows = true;
  }

  /** A full state, or a delta that names only its entries. */
  #opening(device: string, since: number): Uint8Array {
    const full = snapshotOf(STREAM, this.state);
    const collections = new Map(
      [...full.collections].map(([name, entries]) => [
        name,
        new Map([...entries].filter(([, { changed }]) => changed > since)),
      ]),
    );
    return encodeSnapshot({ ...full, since, collections, mark: this.#marks.get(device) ?? null });
  }

  publish(device: string, payload: Uint8Array): Answer {
    const intent = decodeMap(payload, 33);
    const deviceSeq = intent['device_seq'] as number;
    const refusal = this.refused.get(intent['event_type'] as string);
    if (uuidText(intent['device_uuid'] as Uint8Array) !== device) throw new Error('not its device');
    if (refusal !== undefined) return { refused: refusal };
    if (deviceSeq <= (this.#marks.get(device) ?? 0)) return { repeat: this.#find(device, deviceSeq) };
    this.#marks.set(device, deviceSeq);
    this.#accept({
      ...intent,
      epoch: this.#epoch,
      seq: this.log.length + 1,
      ...this.#rest(),
    });
    return { saved: this.log.length };
  }

  #rest(): Record<string, Value> {
    return { accepted_at: Date.now(), sync_id: 'music', channel: null };
  }

  #accept(map: Record<string, Value>): void {
    const event = decodeEvent(encodeCanonical(map));
    this.log.push(event);
    this.state.apply(event);
    for (const link of this.links.values())
      if (link.follows) link.deliver(eventsTopic(STREAM), encodeEvent(event));
  }

  #find(device: string, deviceSeq: number): number {
    return this.log.find((event) => event.deviceUuid === device && event.deviceSeq === deviceSeq)?.seq ?? 0;
  }

  #tellPresence(to: FakeLink, { device, name }: FakeLink, online: boolean): void {
    this.#presence(to, device, name, online, {});
  }

  /** Tells everybody how far a device is, as its acknowledgements would. */
  tellAcked(
    device: string,
    acked: Readonly<Record<string, number>>,
    { online = true, name = null }: { readonly online?: boolean; readonly name?: string | null } = {},
  ): void {
    for (const link of this.links.values()) this.#presence(link, device, name, online, acked);
  }

  #presence(
    to: FakeLink,
    device: string,
    name: string | null,
    online: boolean,
    acked: Readonly<Record<string, number>>,
  ): void {
    const presence = encodeCanonical({ device_uuid: device, online, since: 1, name, acked });
    to.deliver(`sync/music/presence/${device}`, presence);
  }

  /** Live keys of a collection. */
  live(collection: string): string[] {
    const entries = [...this.state.entries(collection)].filter(([, { shown }]) => isLive(shown));
    return entries.map(([key]) => key).sort();
  }
}

export class FakeLink implements Link {
  follows = false;
  #ended = false;

  constructor(
    private readonly broker: FakeBroker,
    readonly device: string,
    readonly name: string | null,
    private readonly listener: LinkListener,
  ) {
    this.#later(() => this.#connect());
  }

  subscribe(filter: string): void {
    this.#later(() => this.broker.subscribe(this, filter));
  }

  publish(_topic: string, payload: Uint8Array, answered: (answer: Answer) => void): void {
    const copy = payload.slice();
    if (this.broker.deaf) return;
    this.#later(() => {
      const answer = this.broker.publish(this.device, copy);
      if (!this.broker.mute) this.#later(() => answered(answer));
    });
  }

  close(): void {
    this.#ended = true;
    this.broker.leave(this);
  }

  deliver(topic: string, payload: Uint8Array): void {
    this.#later(() => this.listener.message(topic, payload));
  }

  async probe(): Promise<boolean> {
    this.broker.probes += 1;
    return !this.broker.deaf;
  }

  end(reason: string, how: Ending): void {
    if (this.#ended) return;
    this.#ended = true;
    this.broker.leave(this);
    this.listener.disconnected(reason, how);
  }

  #connect(): void {
    this.broker.attempts += 1;
    if (this.broker.unauthorized !== undefined) return this.end('not this one', this.broker.unauthorized);
    if (!this.broker.reachable) return this.end('unreachable', 'lost');
    this.broker.join(this);
    this.listener.connected({ receiveMaximum: 8, maximumPacketSize: null });
  }

  #later(then: () => void): void {
    setTimeout(() => {
      if (!this.#ended) then();
    }, 0);
  }
}
