import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { generate, parser, type IConnectPacket, type Packet } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { credentialsOf, type CredentialOptions } from '../src/transport/credentials.js';
import { MqttTransport } from '../src/transport/mqtt.js';
import type { Link, LinkListener } from '../src/transport/transport.js';

const DEVICE = '0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01';
const V5 = { protocolVersion: 5 };

/** A broker's door: who shows what is listed is let in. */
class Door {
  readonly shown: (string | undefined)[] = [];
  readonly renewed: string[] = [];
  readonly welcome = new Set<string>();
  reasonCode = 0x87;
  /** Takes everything and says nothing. */
  deaf = false;
  readonly #server: Server = createServer((socket) => this.#serve(socket));
  readonly #sockets = new Set<Socket>();

  async url(): Promise<string> {
    if (this.#server.listening) return this.#address();
    await new Promise<void>((listening) => this.#server.listen(0, '127.0.0.1', listening));
    return this.#address();
  }

  #address(): string {
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  expire(): void {
    const properties = { reasonString: 'the token has expired' };
    for (const socket of this.#sockets)
      socket.end(generate({ cmd: 'disconnect', reasonCode: 0x87, properties }, V5));
  }

  say(bytes: Uint8Array): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    const packets = parser(V5);
    packets.on('packet', (packet: Packet) => this.#take(socket, packet));
    socket.on('data', (bytes) => packets.parse(bytes));
  }

  #take(socket: Socket, packet: Packet): void {
    if (packet.cmd === 'connect') return this.#admit(socket, packet);
    if (packet.cmd === 'publish')
      this.renewed.push(`${packet.qos} ${packet.topic} ${packet.payload.toString()}`);
    if (packet.cmd === 'pingreq' && !this.deaf) socket.write(generate({ cmd: 'pingresp' }, V5));
  }

  #admit(socket: Socket, { username, password, properties }: IConnectPacket): void {
    const token = properties?.authenticationData?.toString();
    this.shown.push(
      token === undefined
        ? `${username}:${password?.toString()}`
        : `${properties?.authenticationMethod} ${token}`,
    );
    const isWelcome = this.welcome.has(token ?? password?.toString() ?? '');
    const reasonCode = isWelcome ? 0 : this.reasonCode;
    socket.write(
      generate(
        { cmd: 'connack', sessionPresent: false, reasonCode, properties: { reasonString: 'because' } },
        V5,
      ),
    );
    if (!isWelcome) socket.end();
  }
}

let door: Door;
let link: Link | undefined;
let listener: { [K in keyof LinkListener]: ReturnType<typeof vi.fn<LinkListener[K]>> };

beforeEach(() => {
  door = new Door();
  listener = { connected: vi.fn(), message: vi.fn(), disconnected: vi.fn() };
});
afterEach(() => {
  link?.close();
  door.close();
});

/** Connects by what an app says, and may do so again. */
async function connecting(options: CredentialOptions): Promise<() => void> {
  const transport = new MqttTransport(await door.url(), null, credentialsOf(options));
  return () => void (link = transport.connect(DEVICE, listener));
}

/** Tokens `t1`, `t2` … and how often they were asked for. */
function tokens(renewInMs?: number): {
  ask: () => Promise<{ text: string; renewInMs?: number }>;
  asked: number;
} {
  const counter = {
    asked: 0,
    ask: async () => ({
      text: `t${(counter.asked += 1)}`,
      ...(renewInMs === undefined ? {} : { renewInMs }),
    }),
  };
  return counter;
}

async function ended(times = 1): Promise<unknown[]> {
  await vi.waitFor(() => expect(listener.disconnected).toHaveBeenCalledTimes(times));
  return listener.disconnected.mock.calls.at(-1) ?? [];
}

describe('a token', () => {
  it('wall_6_web_6 is asked for before each connection, and shown by the method `token` alone', async () => {
    door.welcome.add('t1').add('t2');
    const { ask } = tokens();
    const connect = await connecting({ username: 'ana', token: ask });
    connect();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalledTimes(1));
    link?.close();
    connect();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalledTimes(2));
    expect(door.shown).toEqual(['token t1', 'token t2']);
  });

  it('wall_8_web_6 is renewed on the connection, at QoS 0, as often as it says', async () => {
    door.welcome.add('t1');
    const connect = await connecting({ username: 'ana', token: tokens(5).ask });
    connect();
    await vi.waitFor(() => expect(door.renewed.length).toBeGreaterThan(1));
    expect(door.renewed.slice(0, 2)).toEqual(['0 $syncline/token t2', '0 $syncline/token t3']);
    expect(door.shown).toEqual(['token t1']);
    expect(listener.disconnected).not.toHaveBeenCalled();
  });

  it('wall_7_web_6 that has expired ends a connection as a network does, for the next one has a fresh one', async () => {
    door.welcome.add('t1');
    const connect = await connecting({ username: 'ana', token: tokens().ask });
    connect();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalled());
    door.expire();
    expect(await ended()).toEqual(['the token has expired', 'lost']);
  });

  it.each([0x86, 0x87, 0x8c])('web_6 that is refused (0x%i) is asked for once more', async (reasonCode) => {
    door.reasonCode = reasonCode;
    door.welcome.add('t2');
    const connect = await connecting({ username: 'ana', token: tokens().ask });
    connect();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalled());
    expect(door.shown).toEqual(['token t1', 'token t2']);
    expect(listener.disconnected).not.toHaveBeenCalled();
  });

  it('web_6 that is refused twice is not to be had; the next connection asks once', async () => {
    const connect = await connecting({ username: 'ana', token: tokens().ask });
    connect();
    expect(await ended()).toEqual(['because', 'no_credentials']);
    connect();
    expect(await ended(2)).toEqual(['because', 'no_credentials']);
    expect(door.shown).toEqual(['token t1', 'token t2', 'token t3']);
  });

  it('web_6 that cannot be had makes no connection, and says why', async () => {
    const connect = await connecting({
      username: 'ana',
      token: () => Promise.reject(new Error('sign in first')),
    });
    connect();
    expect(await ended()).toEqual(['sign in first', 'no_credentials']);
    expect(door.shown).toEqual([]);
  });

  it.each([
    ['', 'the token callback has to give a text'],
    [{ text: 'secret', renewInMs: -1 }, 'renewInMs has to be above 0'],
    [{ text: 'secret', renewInMs: Number.NaN }, 'renewInMs has to be above 0'],
  ])('web_6 that cannot be one is named, but not shown: %j', async (given, reason) => {
    const connect = await connecting({ username: 'ana', token: async () => given });
    connect();
    const [said, how] = await ended();
    expect([said, how]).toEqual([expect.stringContaining(reason), 'no_credentials']);
    expect(said).not.toContain('secret');
  });

  it('web_6 is wanted no more once the connection is', async () => {
    let given: AbortSignal | undefined;
    let give: (token: string) => void = () => undefined;
    const token = (signal: AbortSignal): Promise<string> => {
      given = signal;
      return new Promise((resolve) => (give = resolve));
    };
    const connect = await connecting({ username: 'ana', token });
    connect();
    await vi.waitFor(() => expect(given?.aborted).toBe(false));
    link?.close();
    expect(given?.aborted).toBe(true);
    give('late');
    // Another connection has come and gone, so the late one would have, too.
    door.welcome.add('x');
    (await connecting({ username: 'ana', token: async () => 'x' }))();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalled());
    expect(door.shown).toEqual(['token x']);
  });
});

describe('a password', () => {
  it('wall_1_web_6 that stays the same is not shown again where it is refused', async () => {
    const connect = await connecting({ username: 'ana', password: 'p' });
    connect();
    expect(await ended()).toEqual(['because', 'refused']);
    expect(door.shown).toEqual(['ana:p']);
  });

  it('web_6 that a function gives is asked for once more', async () => {
    let asked = 0;
    door.welcome.add('p2');
    const connect = await connecting({ username: 'ana', password: () => `p${(asked += 1)}` });
    connect();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalled());
    expect(door.shown).toEqual(['ana:p1', 'ana:p2']);
  });

  it('web_6 is no business of a broker that is too busy', async () => {
    door.reasonCode = 0x89;
    const connect = await connecting({ username: 'ana', password: 'p' });
    connect();
    expect((await ended())[1]).toBe('lost');
  });

  it('web_6 and a token exclude each other, and a token needs a name to keep users apart', () => {
    const token = (): Promise<string> => Promise.resolve('t');
    expect(() => credentialsOf({ username: 'ana', password: 'p', token })).toThrow('exclude each other');
    expect(() => credentialsOf({ token })).toThrow('token needs username beside it');
  });
});

describe('a probe', () => {
  async function connected(): Promise<void> {
    door.welcome.add('p');
    (await connecting({ username: 'ana', password: 'p' }))();
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalled());
  }

  it('web_10 hears a broker that answers', async () => {
    await connected();
    await expect(link?.probe(3_000)).resolves.toBe(true);
  });

  it('web_10 hears nothing of one that does not, until the deadline', async () => {
    await connected();
    door.deaf = true;
    await expect(link?.probe(20)).resolves.toBe(false);
  });

  it('web_10 takes any byte for an answer', async () => {
    await connected();
    door.deaf = true;
    const probe = link?.probe(3_000);
    // The first byte of a long message.
    door.say(new Uint8Array([0x30]));
    await expect(probe).resolves.toBe(true);
  });

  it('web_10 leaves a connection alone that is only being made', async () => {
    (await connecting({ username: 'ana', password: 'p' }))();
    await expect(link?.probe(0)).resolves.toBe(true);
  });
});
