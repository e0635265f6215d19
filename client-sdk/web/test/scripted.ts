/** A server that says over MQTT what a test tells it to. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { generate, parser, type Packet } from 'mqtt-packet';

const V5 = { protocolVersion: 5 };

/** Answers as a test tells it, packet by packet. */
export class ScriptedServer {
  readonly received: Packet[] = [];
  readonly #server: Server;
  #socket: Socket | undefined;

  constructor(private readonly answer: (packet: Packet) => readonly Packet[]) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<string> {
    await new Promise<void>((listening) => this.#server.listen(0, '127.0.0.1', listening));
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  send(...packets: readonly Packet[]): void {
    for (const packet of packets) this.#socket?.write(generate(packet, V5));
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }

  #serve(socket: Socket): void {
    this.#socket = socket;
    const packets = parser(V5);
    packets.on('packet', (packet: Packet) => {
      this.received.push(packet);
      this.send(...this.answer(packet));
    });
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => packets.parse(bytes));
  }
}
