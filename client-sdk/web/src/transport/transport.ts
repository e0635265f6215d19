/** What the driver needs of a connection. MQTT.js is one; tests bring their own. */
import type { Answer } from '../core/messages.js';

/** Makes connections: a fresh one each time, without a session from before. */
export interface Transport {
  connect(deviceUuid: string, listener: LinkListener): Link;
}

/** How a connection ended, or was not made. */
export type Ending =
  | 'lost'
  /** The broker gave the session to another connection of this device (FORK-5). */
  | 'taken_over'
  /** The broker does not take what was shown, and the next connection could only show the same (WEB-6). */
  | 'refused'
  /** There is nothing to show that the broker takes; later there may be (WEB-6). */
  | 'no_credentials';

/** What a connection tells. After `disconnected`, or after `close` was called, nothing more. */
export interface LinkListener {
  /** `maximumPacketSize` null: any. */
  connected(limits: { readonly receiveMaximum: number; readonly maximumPacketSize: number | null }): void;
  message(topic: string, payload: Uint8Array): void;
  disconnected(reason: string, how: Ending): void;
}

/** One connection. */
export interface Link {
  /** Subscribes at QoS 1. If the broker refuses what is required, the connection ends; `refused` hears before why (SUBACK). */
  subscribe(filter: string, required: boolean, refused?: (code: number, reason: string) => void): void;
  /** Publishes at QoS 1. `answered` is not called if the connection ends first. */
  publish(topic: string, payload: Uint8Array, answered: (answer: Answer) => void): void;
  /** Whether anything is heard of the broker within `msMax`. True at once while the connection is only being made. */
  probe(msMax: number): Promise<boolean>;
  close(): void;
}
