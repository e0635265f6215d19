/**
 * Drives a core: carries out its outputs and feeds back what comes of them.
 *
 * Inputs are taken one after the other, also those that arise while outputs are carried out, so that everybody sees
 * them in the core's order. Writes are gathered while one is on its way, and become durable in one transaction.
 */
import { RefusedError } from './api.js';
import { Core } from './core/core.js';
import type { Input, Output, Write } from './core/messages.js';
import type { StreamId } from './protocol/ids.js';
import type { Value } from './protocol/value.js';
import { SlotLostError } from './storage/store.js';
import { WallClock } from './tabs/clock.js';
import type { Tenancy, Tenure } from './tabs/tenancy.js';
import type { Link, Transport } from './transport/transport.js';

/** Outputs that are the app's business, and not the driver's. */
export type Told = Extract<
  Output,
  { type: 'receipt' | 'set_aside' | 'event' | 'changed' | 'status' | 'fault' }
>;

/** Who listens to a runner. */
export interface RunnerListener {
  told(output: Told): void;
  /** A connection stands; filters may be added to it. */
  connected(link: Link): void;
  /** A message of a topic that is not the core's. */
  message(topic: string, payload: Uint8Array): void;
  /** This slot is another page's. The runner has stopped. */
  lost(): void;
  /** The store does not take writes any more (STORE-4). The runner has stopped. */
  failed(error: unknown): void;
}

/** An intent that was given to the core. */
export interface Published {
  readonly id: number;
  readonly deviceSeq: number;
}

interface Publisher extends Omit<Waiter, 'published'> {
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
  readonly listener: RunnerListener;
}

/** What the core's reasons mean to people (OUTBOX-3). */
const REJECTIONS: Readonly<Record<string, string>> = {
  outbox_full: 'too many changes wait for the broker already',
  bad_data: 'the schema maps this type, and the data lacks the text under the key of its collection',
};

/** One core, one slot, one connection at a time. */
export class Runner {
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
  #writes: Write[] = [];
  #writing: Promise<void> | undefined;

  constructor(options: RunnerOptions) {
    this.#options = options;
    const { slot, stored } = options.tenure;
    this.#clock = new WallClock(options.tenancy.environment);
    this.core = new Core({ deviceUuid: slot, stream: options.stream, stored, online: options.online });
  }

  start(): void {
    this.#feed({ type: 'open' });
  }

  setOnline(online: boolean): void {
    this.#feed({ type: 'set_online', online });
  }

  /**
   * Resolves once the intent is durable here; `taken` is called before anything more can come of it. Rejects with a
   * `RefusedError` if it is not taken at all.
   */
  publish(eventType: string, eventData: Value, taken: (published: Published) => void): Promise<Published> {
    return new Promise((stored, failed) => {
      this.#enqueue(() => this.#publish(eventType, eventData, { taken, stored, failed }));
    });
  }

  /** Disconnects, and resolves once everything that was written is durable. */
  async stop(): Promise<void> {
    this.#feed({ type: 'set_online', online: false });
    await this.#writing;
    this.#halt(new Error('the client is closed'));
  }

  #publish(eventType: string, eventData: Value, { taken, stored, failed }: Publisher): void {
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
    this.#carryOut(outputs);
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
    for (const output of outputs) this.#do(output);
    this.#armTimer();
  }

  #do(output: Output): void {
    switch (output.type) {
      case 'mint_device':
        return this.#feed({ type: 'new_device', deviceUuid: this.#options.tenancy.newDevice() });
      case 'disconnect':
        return this.#disconnect();
      case 'connect':
        return void this.#connect(output.deviceUuid);
      case 'subscribe':
        return this.#link?.subscribe(output.filter, true);
      case 'write':
        return this.#write(output);
      case 'stored':
        return this.#onStored(output.id);
      case 'send':
        return this.#send(output.id, output.topic, output.payload);
      case 'rejected':
      case 'schema_changed':
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
        disconnected: (reason, takenOver) =>
          this.#ifCurrent(link, () => this.#onDisconnected(reason, takenOver)),
      });
      this.#link = link;
    } catch (error) {
      // A page may not open every address: none without TLS from a page that has it.
      this.#onDisconnected(error instanceof Error ? error.message : String(error), false);
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

  #onDisconnected(reason: string, takenOver: boolean): void {
    this.#link = undefined;
    this.#feed({ type: 'disconnected', reason, takenOver });
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

  #write(write: Write): void {
    this.#writes.push(write);
    this.#writing ??= this.#writeAll();
  }

  async #writeAll(): Promise<void> {
    const { tenancy, tenure } = this.#options;
    try {
      while (this.#writes.length > 0) {
        const writes = this.#writes.splice(0);
        await tenancy.store.write(tenure.slot, tenure.owner, writes);
        this.#feed({ type: 'persisted', write: writes.at(-1)?.write ?? 0 });
      }
      this.#writing = undefined;
    } catch (error) {
      this.#onWriteFailed(error);
    }
  }

  #onWriteFailed(error: unknown): void {
    if (this.#stopped) return;
    if (error instanceof SlotLostError) return this.#lose();
    this.#halt(error instanceof Error ? error : new Error(String(error)));
    this.#options.listener.failed(error);
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

/** Stands for a connection until it is known that this page may make it. */
class Attempt implements Link {
  subscribe(): void {}
  publish(): void {}
  close(): void {}
}
