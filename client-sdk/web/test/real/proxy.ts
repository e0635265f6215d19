/** A network that fails, between clients and a broker on loopback. Bytes of one direction are a `Lane`. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect, vi } from 'vitest';

/**
 * What becomes of bytes: they pass; pass a few at a time; wait both ways without a word (a black hole); vanish on their way to the
 * broker (half-open) or back (what it acknowledges is not heard). `refusing`: new connections are reset.
 */
export type Weather = 'fair' | 'slow' | 'still' | 'swallows requests' | 'swallows answers' | 'refusing';

const TRICKLE_BYTES = 7;
const PATIENCE_MS = 15_000;

/** What it has seen since it began. */
export interface Seen {
  readonly connections: number;
  readonly refused: number;
  /** Bytes. */
  readonly passed: number;
  /** Bytes. */
  readonly swallowed: number;
  readonly resets: number;
}

export class FaultProxy {
  readonly #server: Server;
  readonly #lines = new Set<Line>();
  readonly seen: { -readonly [K in keyof Seen]: Seen[K] } = {
    connections: 0,
    refused: 0,
    passed: 0,
    swallowed: 0,
    resets: 0,
  };
  weather: Weather = 'fair';
  /** So many bytes more, whoever sends them, until one connection is reset. */
  untilReset = Infinity;

  private constructor(brokerPort: number) {
    this.#server = createServer((client) => this.#accept(client, brokerPort));
  }

  static async start(brokerUrl: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(Number(new URL(brokerUrl).port));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mqtt`;
  }

  /**
   * What becomes of bytes from now on. A connection of which bytes have vanished ends as soon as bytes of its lane would pass
   * again: what is left of it is no stream.
   */
  set(weather: Weather): void {
    this.weather = weather;
    for (const line of [...this.#lines]) line.weatherChanged();
  }

  /** Ends all connections, as a machine does that goes. */
  cut(): void {
    for (const line of [...this.#lines]) line.end();
  }

  /** The connections of now hear and say nothing any more; new ones pass. */
  strikeDead(): void {
    for (const line of this.#lines) line.isDead = true;
  }

  /** After so many bytes more one connection is reset, wherever in a packet that is. */
  resetAfter(bytes: number): void {
    this.untilReset = bytes;
  }

  async sees(what: string, isSo: (seen: Seen) => boolean): Promise<void> {
    await vi.waitFor(() => expect(isSo(this.seen), what).toBe(true), { timeout: PATIENCE_MS, interval: 2 });
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((closed) => this.#server.close(closed));
  }

  #accept(client: Socket, brokerPort: number): void {
    this.seen.connections += 1;
    if (this.weather === 'refusing') {
      this.seen.refused += 1;
      client.resetAndDestroy();
      return;
    }
    const line = new Line(this, client, connect(brokerPort, '127.0.0.1'), () => this.#lines.delete(line));
    this.#lines.add(line);
  }
}

/** One connection. */
class Line {
  readonly #lanes: readonly Lane[];
  isDead = false;

  constructor(
    readonly proxy: FaultProxy,
    private readonly client: Socket,
    private readonly broker: Socket,
    private readonly gone: () => void,
  ) {
    this.#lanes = [
      new Lane(this, client, broker, 'swallows requests'),
      new Lane(this, broker, client, 'swallows answers'),
    ];
  }

  weatherChanged(): void {
    for (const lane of this.#lanes) lane.step();
  }

  end(): void {
    this.client.destroy();
    this.broker.destroy();
    this.gone();
  }

  /** In the client's sight by RST. */
  reset(): void {
    this.proxy.seen.resets += 1;
    this.proxy.untilReset = Infinity;
    this.client.resetAndDestroy();
    this.broker.resetAndDestroy();
    this.gone();
  }
}

/** One direction of one connection. What has been read and not passed waits here, which the tests' messages are small enough for. */
class Lane {
  #waiting = Buffer.alloc(0);
  #hasSwallowed = false;
  #trickles = false;

  constructor(
    private readonly line: Line,
    from: Socket,
    private readonly to: Socket,
    private readonly swallowing: Weather,
  ) {
    from.on('data', (bytes: Buffer) => {
      this.#waiting = Buffer.concat([this.#waiting, bytes]);
      this.step();
    });
    from.on('error', () => line.end());
    // One that is dead says nothing, of its end neither.
    from.on('close', () => {
      if (!line.isDead) line.end();
    });
  }

  step(): void {
    const { proxy, isDead } = this.line;
    if (isDead || proxy.weather === 'still' || this.to.destroyed) return;
    if (proxy.weather === this.swallowing) {
      proxy.seen.swallowed += this.#waiting.length;
      this.#hasSwallowed ||= this.#waiting.length > 0;
      this.#waiting = Buffer.alloc(0);
    } else if (this.#hasSwallowed) this.line.end();
    else if (!this.#trickles) this.#pass();
  }

  #pass(): void {
    const { proxy } = this.line;
    const isSlow = proxy.weather === 'slow';
    const length = Math.min(this.#waiting.length, proxy.untilReset, isSlow ? TRICKLE_BYTES : Infinity);
    if (length === 0) return;
    this.to.write(this.#waiting.subarray(0, length));
    this.#waiting = this.#waiting.subarray(length);
    proxy.seen.passed += length;
    proxy.untilReset -= length;
    if (proxy.untilReset === 0) return this.line.reset();
    if (!isSlow) return this.#pass();
    this.#trickles = true;
    setTimeout(() => {
      this.#trickles = false;
      this.step();
    }, 1);
  }
}
