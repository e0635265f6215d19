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
import { AskingLink, type Asking, type Dialled } from './asking.js';
import type { Credentials, Shown, Token } from './credentials.js';
import type { Ending, Link, LinkListener, Transport } from './transport.js';

/** Seconds. A dead network is noticed after one and a half of these at the latest. */
const KEEPALIVE_S = 30;
const CONNECT_MS_MAX = 10_000;
/** The protocol's default where the broker names none. */
const RECEIVE_MAXIMUM = 65_535;
const REASON_TAKEN_OVER = 0x8e;
const REASON_FAILED = 0x80;
/** CONNACK: what was shown is wrong, has expired, is missing, or is of a kind that is not taken (WALL-1, WALL-6). */
const REASONS_UNAUTHORIZED: readonly unknown[] = [0x86, 0x87, 0x8c];
/** The Authentication Method by which a token is shown (WALL-6). */
const METHOD = 'token';

/** Connects to one broker. */
export class MqttTransport implements Transport {
  readonly #asking: Asking | undefined;
  readonly #shown: Shown;

  constructor(
    private readonly url: string,
    /** For people; null: none. */
    private readonly name: string | (() => string) | null,
    credentials: Credentials = { type: 'fixed', shown: { type: 'nothing' } },
    /** Whether connections are those of a device: then its presence is told (PRESENCE-1). */
    private readonly kind: { readonly isDevice: boolean } = { isDevice: true },
  ) {
    if (!/^(?:wss?|mqtts?|tcp):\/\/./.test(url))
      throw new RangeError(`${url} is not the address of a broker`);
    this.#asking = credentials.type === 'asked' ? { ask: credentials.ask, refused: false } : undefined;
    this.#shown = credentials.type === 'fixed' ? credentials.shown : { type: 'nothing' };
  }

  connect(deviceUuid: string, listener: LinkListener): Link {
    const dial = (shown: Shown, told: LinkListener): Dialled =>
      new MqttLink(mqtt.connect(this.url, this.#options(deviceUuid, shown)), told);
    return this.#asking === undefined
      ? dial(this.#shown, listener)
      : new AskingLink(this.#asking, dial, listener);
  }

  /** None at all where there are none: MQTT.js sends no CONNECT whose list is empty. */
  #userProperties(deviceUuid: string): IClientOptions['properties'] {
    const name = typeof this.name === 'function' ? this.name() : this.name;
    const userProperties = {
      ...(this.kind.isDevice ? { device: deviceUuid } : {}),
      ...(name === null ? {} : { name }),
    };
    return Object.keys(userProperties).length === 0 ? {} : { userProperties };
  }

  #options(deviceUuid: string, shown: Shown): IClientOptions {
    return {
      ...(shown.type === 'password' ? { username: shown.username, password: shown.password } : {}),
      protocolVersion: 5,
      clientId: deviceUuid,
      clean: true,
      keepalive: KEEPALIVE_S,
      connectTimeout: CONNECT_MS_MAX,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      properties: {
        ...this.#userProperties(deviceUuid),
        ...(shown.type === 'token' ? authentication(shown.token) : {}),
      },
    };
  }
}

/** WALL-6: as the password it would need a user name beside it, which nobody knows here. */
function authentication({ text }: Token): IClientOptions['properties'] {
  // Bytes are what MQTT.js needs; a page has no Buffer.
  return { authenticationMethod: METHOD, authenticationData: new TextEncoder().encode(text) as Buffer };
}

class MqttLink implements Dialled {
  #ended = false;
  #connected = false;
  #reason: string | undefined;
  #how: Ending = 'lost';
  /** The publish that is being handed to MQTT.js, which names its packet id only in `packetsend`. */
  #publishing: ((answer: Answer) => void) | undefined;
  readonly #unanswered = new Map<number, (answer: Answer) => void>();

  constructor(
    private readonly client: MqttClient,
    private readonly listener: LinkListener,
  ) {
    client.on('connect', (packet) => this.#onConnected(packet));
    client.on('message', (topic, payload) => {
      if (!this.#ended) listener.message(topic, payload);
    });
    client.on('packetsend', (packet) => this.#sent(packet));
    client.on('packetreceive', (packet) => this.#received(packet));
    client.on('disconnect', (packet) => this.#dismissed(packet));
    client.on('error', (error) => this.#end(String(error.message || error)));
    client.on('close', () => this.#end('the connection was closed'));
  }

  subscribe(...[filter, required, refused]: Parameters<Link['subscribe']>): void {
    this.client.subscribe(filter, { qos: 1 }, (error, _granted, packet) => {
      if (!error || !required) return;
      const { granted: [code] = [], properties } = (packet ?? {}) as Partial<
        Extract<Packet, { cmd: 'suback' }>
      >;
      const reason = properties?.reasonString ?? error.message;
      if (typeof code === 'number' && code >= REASON_FAILED) refused?.(code, reason);
      this.#end(`subscribing ${filter}: ${reason}`);
    });
  }

  publish(topic: string, payload: Uint8Array, answered: (answer: Answer) => void): void {
    this.#publishing = answered;
    // The answer is read from the raw PUBACK; an error here means that the connection ends.
    this.client.publish(topic, payload as Buffer, { qos: 1 }, () => undefined);
    this.#publishing = undefined;
  }

  tell(topic: string, text: string): void {
    this.client.publish(topic, text, { qos: 0 }, () => undefined);
  }

  /** Any byte counts: the answer may stand behind a long message. */
  async probe(msMax: number): Promise<boolean> {
    if (!this.#connected || this.#ended) return true;
    const { stream } = this.client;
    return new Promise((resolve) => {
      const deadline = setTimeout(() => settle(false), msMax);
      const heard = (): void => settle(true);
      const settle = (alive: boolean): void => {
        clearTimeout(deadline);
        stream.off('data', heard);
        resolve(alive || this.#ended);
      };
      stream.on('data', heard);
      this.client.sendPing();
    });
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    // By force: else MQTT.js would wait for answers that may never come.
    this.client.end(true);
  }

  #onConnected({ properties }: IConnackPacket): void {
    if (this.#ended) return;
    this.#connected = true;
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
    if (this.#ended) return;
    if (packet.cmd === 'connack') return this.#admitted(packet);
    if (packet.cmd !== 'puback') return;
    const answered = this.#unanswered.get(packet.messageId ?? 0);
    this.#unanswered.delete(packet.messageId ?? 0);
    const answer = readAnswer(packet.reasonCode ?? 0, packet.properties ?? {});
    if (answer === undefined) return this.#end('an acknowledgement without a seq');
    answered?.(answer);
  }

  /** MQTT.js tells a refusal as an error, without what the broker says about it. */
  #admitted({ reasonCode, properties }: IConnackPacket): void {
    if (!REASONS_UNAUTHORIZED.includes(reasonCode)) return;
    this.#how = 'refused';
    const { reasonString } = properties ?? {};
    this.#reason = reasonString ?? `the broker refused who this is (0x${reasonCode?.toString(16)})`;
  }

  #dismissed(packet: IDisconnectPacket): void {
    if (packet.reasonCode === REASON_TAKEN_OVER) this.#how = 'taken_over';
    const { reasonString } = packet.properties ?? {};
    this.#reason = reasonString ?? `the broker closed with reason 0x${(packet.reasonCode ?? 0).toString(16)}`;
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.client.end(true);
    this.listener.disconnected(this.#reason ?? reason, this.#how);
  }
}

interface AnswerProperties {
  readonly reasonString?: string;
  readonly userProperties?: { readonly [name: string]: string | string[] };
}

/** ANSWER-1, ANSWER-3. undefined: a success that does not say where. */
export function readAnswer(
  reasonCode: number,
  { reasonString, userProperties }: AnswerProperties,
): Answer | undefined {
  if (reasonCode >= REASON_FAILED) return { refused: readRefusal(reasonCode, reasonString) };
  const [saved, repeat] = [Number(userProperties?.['seq']), Number(userProperties?.['repeat'])];
  if (saved >= 1) return { saved };
  return repeat >= 1 ? { repeat } : undefined;
}

/** `<name>: <sentence>`; a broker that says nothing leaves only its code. */
function readRefusal(reasonCode: number, reasonString = ''): { name: string; reason: string } {
  const [, name, reason] = /^([a-z_]+): (.*)$/s.exec(reasonString) ?? [];
  if (name !== undefined && reason !== undefined) return { name, reason };
  return { name: `0x${reasonCode.toString(16)}`, reason: reasonString };
}
