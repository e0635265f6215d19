/**
 * Connections by MQTT.js: version 5, clean, never reconnecting by itself (the core decides when), never resubscribing
 * (a `$since` of then would be stale).
 */
import mqtt, {
  type IClientOptions,
  type IConnackPacket,
  type IDisconnectPacket,
  type MqttClient,
  type Packet,
} from 'mqtt';
import type { Answer } from '../core/messages.js';
import type { Link, LinkListener, Transport } from './transport.js';

/** Seconds. A dead network is noticed after one and a half of these at the latest. */
const KEEPALIVE_S = 30;
const CONNECT_MS_MAX = 10_000;
/** The protocol's default where the broker names none. */
const RECEIVE_MAXIMUM = 65_535;
const REASON_TAKEN_OVER = 0x8e;
const REASON_FAILED = 0x80;

/** Connects to one broker. */
export class MqttTransport implements Transport {
  constructor(
    private readonly url: string,
    /** For people; null: none. */
    private readonly name: string | null,
    /** Asked at every connection, because a token is fresh for a while only. */
    private readonly credentials: () => Pick<IClientOptions, 'username' | 'password'> = () => ({}),
  ) {
    if (!/^(?:wss?|mqtts?|tcp):\/\/./.test(url))
      throw new RangeError(`${url} is not the address of a broker`);
  }

  connect(deviceUuid: string, listener: LinkListener): Link {
    return new MqttLink(mqtt.connect(this.url, this.#options(deviceUuid)), listener);
  }

  #options(deviceUuid: string): IClientOptions {
    return {
      ...this.credentials(),
      protocolVersion: 5,
      clientId: deviceUuid,
      clean: true,
      keepalive: KEEPALIVE_S,
      connectTimeout: CONNECT_MS_MAX,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      properties: {
        userProperties: { device: deviceUuid, ...(this.name === null ? {} : { name: this.name }) },
      },
    };
  }
}

class MqttLink implements Link {
  #ended = false;
  #reason: string | undefined;
  #takenOver = false;
  /** The publish that is being handed to MQTT.js, which names its packet id only in `packetsend`. */
  #publishing: ((answer: Answer) => void) | undefined;
  readonly #unanswered = new Map<number, (answer: Answer) => void>();

  constructor(
    private readonly client: MqttClient,
    private readonly listener: LinkListener,
  ) {
    client.on('connect', (packet) => this.#connected(packet));
    client.on('message', (topic, payload) => {
      if (!this.#ended) listener.message(topic, payload);
    });
    client.on('packetsend', (packet) => this.#sent(packet));
    client.on('packetreceive', (packet) => this.#received(packet));
    client.on('disconnect', (packet) => this.#dismissed(packet));
    client.on('error', (error) => this.#end(String(error.message || error)));
    client.on('close', () => this.#end('the connection was closed'));
  }

  subscribe(filter: string, required: boolean): void {
    this.client.subscribe(filter, { qos: 1 }, (error) => {
      if (error && required) this.#end(`subscribing ${filter}: ${error.message}`);
    });
  }

  publish(topic: string, payload: Uint8Array, answered: (answer: Answer) => void): void {
    this.#publishing = answered;
    // The answer is read from the raw PUBACK; an error here means that the connection ends.
    this.client.publish(topic, payload as Buffer, { qos: 1 }, () => undefined);
    this.#publishing = undefined;
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    // By force: else MQTT.js would wait for answers that may never come.
    this.client.end(true);
  }

  #connected({ properties }: IConnackPacket): void {
    if (this.#ended) return;
    this.listener.connected({
      receiveMaximum: properties?.receiveMaximum ?? RECEIVE_MAXIMUM,
      maximumPacketSize: properties?.maximumPacketSize ?? null,
    });
  }

  #sent(packet: Packet): void {
    if (packet.cmd !== 'publish' || packet.messageId === undefined || this.#publishing === undefined) return;
    this.#unanswered.set(packet.messageId, this.#publishing);
    this.#publishing = undefined;
  }

  #received(packet: Packet): void {
    if (packet.cmd !== 'puback' || this.#ended) return;
    const answered = this.#unanswered.get(packet.messageId ?? 0);
    this.#unanswered.delete(packet.messageId ?? 0);
    answered?.(readAnswer(packet.reasonCode ?? 0, packet.properties ?? {}));
  }

  #dismissed(packet: IDisconnectPacket): void {
    this.#takenOver = packet.reasonCode === REASON_TAKEN_OVER;
    const { reasonString } = packet.properties ?? {};
    this.#reason = reasonString ?? `the broker closed with reason 0x${(packet.reasonCode ?? 0).toString(16)}`;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.client.end(true);
    this.listener.disconnected(this.#reason ?? reason, this.#takenOver);
  }
}

interface AnswerProperties {
  readonly reasonString?: string;
  readonly userProperties?: { readonly [name: string]: string | string[] };
}

/** ANSWER-1, ANSWER-3. */
export function readAnswer(reasonCode: number, { reasonString, userProperties }: AnswerProperties): Answer {
  if (reasonCode >= REASON_FAILED) return { refused: readRefusal(reasonCode, reasonString) };
  const repeat = userProperties?.['repeat'];
  return repeat === undefined ? { saved: Number(userProperties?.['seq']) } : { repeat: Number(repeat) };
}

/** `<name>: <sentence>`; a broker that says nothing leaves only its code. */
function readRefusal(reasonCode: number, reasonString = ''): { name: string; reason: string } {
  const [, name, reason] = /^([a-z_]+): (.*)$/s.exec(reasonString) ?? [];
  if (name !== undefined && reason !== undefined) return { name, reason };
  return { name: `0x${reasonCode.toString(16)}`, reason: reasonString };
}
