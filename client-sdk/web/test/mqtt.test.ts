import { type Packet } from 'mqtt-packet';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Answer } from '../src/core/messages.js';
import { credentialsOf } from '../src/transport/credentials.js';
import { MqttTransport, readAnswer } from '../src/transport/mqtt.js';
import type { Link, LinkListener } from '../src/transport/transport.js';
import { ScriptedServer } from './scripted.js';

const DEVICE = '0b0e7a52-6d0c-4a53-9a5e-2f1f0c9d1a01';

const CONNACK: Packet = {
  cmd: 'connack',
  reasonCode: 0,
  sessionPresent: false,
  properties: { receiveMaximum: 7, maximumPacketSize: 1000 },
};

describe('MqttTransport', () => {
  let listener: { [K in keyof LinkListener]: ReturnType<typeof vi.fn<LinkListener[K]>> };
  let server: ScriptedServer;
  let link: Link | undefined;
  let transport: MqttTransport;
  let tokens: number;

  beforeEach(() => {
    tokens = 0;
    listener = { connected: vi.fn(), message: vi.fn(), disconnected: vi.fn() };
  });
  afterEach(() => {
    link?.close();
    server.close();
  });

  async function connect(answer: (packet: Packet) => readonly Packet[]): Promise<Link> {
    server = new ScriptedServer((packet) => (packet.cmd === 'connect' ? [CONNACK] : answer(packet)));
    const ana = credentialsOf({ username: 'ana', password: () => `token-${(tokens += 1)}` });
    transport = new MqttTransport(await server.listen(), 'Kitchen', ana);
    link = transport.connect(DEVICE, listener);
    await vi.waitFor(() => expect(listener.connected).toHaveBeenCalled());
    return link;
  }

  it('link_1 connects clean, at version 5, as the device, and passes the limits on', async () => {
    await connect(() => []);
    expect(server.received[0]).toMatchObject({
      protocolVersion: 5,
      clean: true,
      clientId: DEVICE,
      username: 'ana',
      password: Buffer.from('token-1'),
      properties: { userProperties: { device: DEVICE, name: 'Kitchen' } },
    });
    expect(listener.connected).toHaveBeenCalledWith({ receiveMaximum: 7, maximumPacketSize: 1000 });
  });

  it('shows at every connection what is given then', async () => {
    const first = await connect(() => []);
    first.close();
    link = transport.connect(DEVICE, listener);
    await vi.waitFor(() =>
      expect(server.received.filter((packet) => packet.cmd === 'connect')).toHaveLength(2),
    );
    expect(server.received.at(-1)).toMatchObject({ password: Buffer.from('token-2') });
  });

  it('answer_1_answer_3 gives each publish the answer to its own packet', async () => {
    const packets: Packet[] = [];
    const open = await connect((packet) => {
      if (packet.cmd === 'publish') packets.push(packet);
      return packets.length < 3
        ? []
        : packets.splice(0).map((publish, i) => puback(publish.messageId ?? 0, i));
    });
    const answers = await Promise.all(['a', 'b', 'c'].map((text) => publish(open, text)));
    expect(answers).toEqual([
      { saved: 5 },
      { refused: { name: 'device_forked', reason: 'another event: 3' } },
      { repeat: 4 },
    ]);
  });

  it('passes messages on as bytes', async () => {
    const open = await connect((packet) =>
      packet.cmd !== 'subscribe'
        ? []
        : [
            { cmd: 'suback', messageId: packet.messageId ?? 0, granted: [1] },
            { cmd: 'publish', topic: 't', payload: Buffer.from([1, 2]), qos: 0, dup: false, retain: false },
          ],
    );
    open.subscribe('t', true);
    await vi.waitFor(() => expect(listener.message).toHaveBeenCalled());
    const [topic, payload] = listener.message.mock.calls[0] ?? [];
    expect([topic, [...(payload ?? [])]]).toEqual(['t', [1, 2]]);
  });

  it.each([
    [true, 1],
    [false, 0],
  ])('a refused subscription ends the connection only if required: %s', async (required, ends) => {
    const refuse = ({ cmd, messageId }: Packet): Packet[] =>
      cmd === 'subscribe' ? [{ cmd: 'suback', messageId: messageId ?? 0, granted: [0x87] }] : [];
    const open = await connect(refuse);
    open.subscribe('t', required);
    await vi.waitFor(() => expect(server.received.some(({ cmd }) => cmd === 'subscribe')).toBe(true));
    await vi.waitFor(() => expect(listener.disconnected).toHaveBeenCalledTimes(ends));
  });

  it('says once why a connection ended, and that another client took the device over', async () => {
    await connect(() => []);
    server.send({ cmd: 'disconnect', reasonCode: 0x8e, properties: { reasonString: 'taken over' } });
    server.close();
    await vi.waitFor(() => expect(listener.disconnected).toHaveBeenCalled());
    expect(listener.disconnected.mock.calls).toEqual([['taken over', 'taken_over']]);
  });

  it('tells nothing more after close', async () => {
    const open = await connect(() => []);
    open.close();
    server.close();
    await new Promise((closed) => setImmediate(closed));
    expect(listener.disconnected).not.toHaveBeenCalled();
  });

  it('says when nobody is there', async () => {
    server = new ScriptedServer(() => []);
    const url = await server.listen();
    server.close();
    link = new MqttTransport(url, null).connect(DEVICE, listener);
    await vi.waitFor(() => expect(listener.disconnected).toHaveBeenCalledTimes(1));
  });

  it('takes only addresses of brokers', () => {
    expect(() => new MqttTransport('localhost:8080', null)).toThrow(RangeError);
  });

  it('answer_3 keeps the code of a refusal without a name', () => {
    expect(readAnswer(0x99, {})).toEqual({ refused: { name: '0x99', reason: '' } });
  });
});

function publish(link: Link, text: string): Promise<Answer> {
  return new Promise((answered) => link.publish('t', new TextEncoder().encode(text), answered));
}

function puback(messageId: number, i: number): Packet {
  const answers = [
    { reasonCode: 0, properties: { userProperties: { seq: '5' } } },
    { reasonCode: 0x83, properties: { reasonString: 'device_forked: another event: 3' } },
    { reasonCode: 0, properties: { userProperties: { repeat: '4' } } },
  ];
  return { cmd: 'puback', messageId, ...answers[i] } as Packet;
}
