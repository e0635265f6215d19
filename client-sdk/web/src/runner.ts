/**
 * Drives a core: carries out its outputs and feeds back what comes of them.
 *
 * Inputs are taken one after the other, also those that arise while outputs are carried out, so that everybody sees
 * them in the core's order. Writes are gathered while one is on its way, and become durable in one transaction.
 */
import { RefusedError } from './api.js';
import { Core } from './core/core.js';
import type { Input, IntentRow, Output, Write } from './core/messages.js';
import type { Driver, Published } from './driver.js';
import type { StreamId } from './protocol/ids.js';
import type { Value } from './protocol/value.js';
import { asideId, SlotLostError, type AsideRow, type StoreWrite } from './storage/store.js';
import { WallClock } from './tabs/clock.js';
import type { Tenancy, Tenure } from './tabs/tenancy.js';
import type { Ending, Link, Transport } from './transport/transport.js';
import { FullError, Writer } from './writer.js';

/** How long a connection may be silent that is asked whether it is alive (WEB-10). */
const PROBE_MS_MAX = 3_000;

/** Outputs that are the app's business, and not the driver's. */
export type Told = Extract<Output, { type: 'receipt' | 'event' | 'changed' | 'status' | 'fault' | 'send' }>;

/** Who listens to a runner. */
export interface RunnerListener {
  told(output: Told): void;
  /** It will never be saved, and is kept durably (TOLD-3). */
  setAside(row: AsideRow): void;
  /** A connection stands; filters may be added to it. */
  connected(link: Link): void;
  /** A message of a topic that is not the core's. */
  message(topic: string, payload: Uint8Array): void;
  /** The broker wants to know who this is; `isFinal`: nothing more is tried until `setOnline` (WEB-6). */
  unauthorized(reason: string, isFinal: boolean): void;
  /** The storage is full; it goes on (WEB-8). */
  full(detail: string): void;
  /** A new intent found no room. The runner has stopped; one on what is stored goes on (WEB-8). */
  overfull(): void;
  /** This slot is another page's. The runner has stopped. */
  lost(): void;
  /** In another tab of this device the app was switched (WEB-18). */
  switched(online: boolean): void;
  /** Another tab leads now (WEB-17). */
  otherLeader(): void;
  /** The store does not take writes any more (STORE-4). The runner has stopped. */
  failed(error: unknown): void;
}

interface Publisher extends Omit<Waiter, 'published'> {
  readonly request: string;
  readonly taken: (published: Published) => void;
}

interface Waiter {
  readonly published: Published;
  readonly stored: (published: Published) => void;
  readonly failed: (error: unknown) => void;
}

/** What a runner works with. */
export interface RunnerOptions {
  readonly tenancy: Tenancy;
  readonly tenure: Tenure;
  readonly stream: StreamId;
  readonly transport: Transport;
  readonly online: boolean;
  /** Requests are stored with their intents (WEB-17). */
  readonly keepsRequests?: true;
  readonly listener: RunnerListener;
}

/** What the core's reasons mean to people (OUTBOX-3). */
const REJECTIONS: Readonly<Record<string, string>> = {
  outbox_full: 'too many changes wait for the broker already',
  bad_data: 'the schema maps this type, and the data lacks the text under the key of its collection',
};

/** One core, one slot, one connection at a time. */
export class Runner implements Driver {
  readonly leads = true;
  readonly core: Core;
  readonly #options: RunnerOptions;
  readonly #inputs: (() => void)[] = [];
  readonly #waiters = new Map<number, Waiter>();
  #running = false;
  /** Why nothing is taken any more. */
  #stopped: Error | undefined;
  readonly #clock: WallClock;
  #now = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #link: Link | undefined;
  readonly #writer: Writer;
  #probed: Link | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    const { slot, stored } = options.tenure;
    this.#clock = new WallClock(options.tenancy.environment);
    this.core = new Core({ deviceUuid: slot, stream: options.stream, stored, online: options.online });
    const { tenancy, tenure, listener } = options;
    this.#writer = new Writer({
      store: (writes) => tenancy.store.write(tenure.slot, tenure.owner, writes),
      isAwaited: ({ put }) => put.intents?.some(({ id }) => this.#waiters.has(id)) === true,
      persisted: (writes) => this.#onPersisted(writes),
      failed: (error) => this.#onWriteFailed(error),
      full: (detail) => listener.full(detail),
    });
  }

  start(): void {
    this.#feed({ type: 'open' });
  }

  setOnline(online: boolean): void {
    this.#feed({ type: 'set_online', online });
  }

  wake(): void {
    if (this.#link === undefined) this.setOnline(true);
    else void this.#probe(this.#link);
  }

  publish(
    eventType: string,
    eventData: Value,
    taken: (published: Published) => void,
    request: string,
  ): Promise<Published> {
    return new Promise((stored, failed) => {
      this.#enqueue(() => this.#publish(eventType, eventData, { taken, stored, failed, request }));
    });
  }

  async stop(): Promise<void> {
    this.#feed({ type: 'set_online', online: false });
    await this.#writer.finish();
    this.#halt(new Error('the client is closed'));
  }

  end(error: Error): void {
    this.#halt(error);
  }

  #publish(eventType: string, eventData: Value, { taken, stored, failed, request }: Publisher): void {
    if (this.#stopped) return failed(this.#stopped);
    const outputs = this.#handle({ type: 'publish', eventType, eventData });
    const [first] = outputs;
    if (first?.type === 'rejected')
      return failed(new RefusedError(first.reason, REJECTIONS[first.reason] ?? ''));
    const write = outputs.find((output): output is Write => output.type === 'write');
    const row = write?.put.intents?.at(-1);
    if (row !== undefined) {
      const published = { id: row.id, deviceSeq: row.deviceSeq };
      this.#waiters.set(row.id, { published, stored, failed });
      taken(published);
    }
    this.#carryOut(
      this.#options.keepsRequests === true && write !== undefined
        ? outputs.map((one) => (one === write ? asked(write, request) : one))
        : outputs,
    );
  }

  #feed(input: Input): void {
    this.#enqueue(() => {
      if (this.#stopped === undefined) this.#carryOut(this.#handle(input));
    });
  }

  #enqueue(step: () => void): void {
    this.#inputs.push(step);
    if (this.#running) return;
    this.#running = true;
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        next();
      }
    } finally {
      this.#running = false;
    }
  }

  #handle(input: Input): Output[] {
    this.#now = this.#clock.now();
    return this.core.handle(this.#now, this.#options.tenancy.environment.chance(), input);
  }

  #carryOut(outputs: readonly Output[]): void {
    const aside = outputs.flatMap((output) => (output.type === 'set_aside' ? [this.#asideRow(output)] : []));
    for (const output of outputs) {
      // What is set aside goes with what takes it out of the outbox (TOLD-3).
      if (output.type === 'write') this.#writer.write(aside.length > 0 ? { ...output, aside } : output);
      else this.#do(output);
    }
    this.#armTimer();
  }

  #do(output: Exclude<Output, Write>): void {
    switch (output.type) {
      case 'mint_device':
        return this.#feed({ type: 'new_device', deviceUuid: this.#options.tenancy.newDevice() });
      case 'disconnect':
        return this.#disconnect();
      case 'connect':
        return void this.#connect(output.deviceUuid);
      case 'subscribe':
        return this.#link?.subscribe(output.filter, true);
      case 'stored':
        return this.#onStored(output.id);
      case 'send':
        this.#send(output.id, output.topic, output.payload);
        return this.#options.listener.told(output);
      case 'rejected':
      case 'schema_changed':
      case 'set_aside':
        return;
      default:
        return this.#options.listener.told(output);
    }
  }

  // Connection

  /** WEB-4: only the owner of the slot may connect as its device. */
  async #connect(deviceUuid: string): Promise<void> {
    const { tenancy, tenure, transport } = this.#options;
    const attempt = new Attempt();
    this.#link = attempt;
    const owns = await tenancy.store.owns(tenure.slot, tenure.owner).catch(() => true);
    if (this.#link !== attempt) return;
    if (!owns) return this.#lose();
    try {
      const link: Link = transport.connect(deviceUuid, {
        connected: (limits) => this.#ifCurrent(link, () => this.#onConnected(link, limits)),
        message: (topic, payload) => this.#ifCurrent(link, () => this.#onMessage(topic, payload)),
        disconnected: (reason, how) => this.#ifCurrent(link, () => this.#onDisconnected(reason, how)),
      });
      this.#link = link;
    } catch (error) {
      // A page may not open every address: none without TLS from a page that has it.
      this.#onDisconnected(error instanceof Error ? error.message : String(error), 'lost');
    }
  }

  #ifCurrent(link: Link, then: () => void): void {
    if (this.#link === link) then();
  }

  #onConnected(link: Link, limits: { receiveMaximum: number; maximumPacketSize: number | null }): void {
    this.#feed({ type: 'connected', ...limits });
    this.#options.listener.connected(link);
  }

  #onMessage(topic: string, payload: Uint8Array): void {
    this.#feed({ type: 'message', topic, payload });
    this.#options.listener.message(topic, payload);
  }

  #onDisconnected(reason: string, how: Ending): void {
    this.#link = undefined;
    const isFinal = how === 'refused';
    if (isFinal || how === 'no_credentials') this.#options.listener.unauthorized(reason, isFinal);
    // To show the same again would only be refused again.
    if (isFinal) return this.#feed({ type: 'set_online', online: false });
    this.#feed({ type: 'disconnected', reason, takenOver: how === 'taken_over' });
  }

  async #probe(link: Link): Promise<void> {
    if (this.#probed === link) return;
    this.#probed = link;
    const alive = await link.probe(PROBE_MS_MAX);
    this.#probed = undefined;
    if (alive || this.#link !== link) return;
    link.close();
    this.#onDisconnected('the connection did not answer', 'lost');
    this.setOnline(true);
  }

  #disconnect(): void {
    this.#link?.close();
    this.#link = undefined;
  }

  #send(id: number, topic: string, payload: Uint8Array): void {
    const link = this.#link;
    if (link === undefined) return;
    link.publish(topic, payload, (answer) =>
      this.#ifCurrent(link, () => this.#feed({ type: 'acked', id, answer })),
    );
  }

  // Storage

  #asideRow({ id, intent, name, reason }: Extract<Output, { type: 'set_aside' }>): AsideRow {
    const row: IntentRow = { ...intent, id };
    return { id: asideId(this.#now, this.#options.tenure.slot, id), intent: row, refusal: name, reason };
  }

  #onPersisted(writes: readonly StoreWrite[]): void {
    if (this.#stopped) return;
    for (const row of writes.flatMap(({ aside = [] }) => aside)) this.#options.listener.setAside(row);
    this.#feed({ type: 'persisted', write: writes.at(-1)?.write ?? 0 });
  }

  #onWriteFailed(error: unknown): void {
    if (this.#stopped) return;
    if (error instanceof SlotLostError) return this.#lose();
    if (error instanceof FullError) return this.#overflow(error);
    this.#halt(error instanceof Error ? error : new Error(String(error)));
    this.#options.listener.failed(error);
  }

  #overflow({ message }: FullError): void {
    this.#halt(new RefusedError('quota_exceeded', message));
    this.#options.listener.overfull();
  }

  #onStored(id: number): void {
    const waiter = this.#waiters.get(id);
    this.#waiters.delete(id);
    waiter?.stored(waiter.published);
  }

  // Timer and end

  #armTimer(): void {
    clearTimeout(this.#timer);
    const at = this.core.nextTimeout();
    if (at === null || this.#stopped) return;
    this.#timer = setTimeout(() => this.#feed({ type: 'timeout' }), Math.max(0, at - this.#now));
  }

  #lose(): void {
    this.#halt(new SlotLostError());
    this.#options.listener.lost();
  }

  #halt(error: Error): void {
    this.#stopped ??= error;
    clearTimeout(this.#timer);
    this.#disconnect();
    for (const { failed } of this.#waiters.values()) failed(error);
    this.#waiters.clear();
  }
}

/** A write whose last intent is stored with the request that it came by. */
function asked(write: Write, request: string): Write {
  const intents = write.put.intents ?? [];
  const last = intents.map((row, i) => (i === intents.length - 1 ? { ...row, request } : row));
  return { ...write, put: { ...write.put, intents: last } };
}

/** Stands for a connection until it is known that this page may make it. */
class Attempt implements Link {
  subscribe(): void {}
  publish(): void {}
  async probe(): Promise<boolean> {
    return true;
  }
  close(): void {}
}
