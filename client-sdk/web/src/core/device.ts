/** The device's own numbers: `device_seq`, what was offered, the clock. */
import { laterClock, nextClock, type Clock } from '../protocol/clock.js';
import type { DeviceRow } from './messages.js';

/** One device. Only `rename` makes it another (FORK-3). */
export class Device {
  #uuid: string;
  #nextSeq: number;
  #offered: number;
  #clock: Clock;

  constructor(row: DeviceRow) {
    this.#uuid = row.deviceUuid;
    this.#nextSeq = row.nextDeviceSeq;
    this.#offered = row.offered;
    this.#clock = { timestamp: row.timestamp, counter: row.counter };
  }

  get uuid(): string {
    return this.#uuid;
  }

  /** The highest `device_seq` that may ever have been sent (OUTBOX-5). */
  get offered(): number {
    return this.#offered;
  }

  get lastSeq(): number {
    return this.#nextSeq - 1;
  }

  /** The next `device_seq`, and never again. */
  takeSeq(): number {
    return this.#nextSeq++;
  }

  /** The next clock (OUTBOX-2). */
  tick(now: number): Clock {
    this.#clock = nextClock(this.#clock, now);
    return this.#clock;
  }

  /** Moves the clock to one that was seen. */
  see(clock: Clock): void {
    this.#clock = laterClock(this.#clock, { timestamp: clock.timestamp, counter: clock.counter });
  }

  offerAll(): void {
    this.#offered = this.lastSeq;
  }

  /** Whether a number is one that this device has given to an intent. */
  hasIssued(deviceUuid: string, deviceSeq: number | null): boolean {
    return deviceUuid === this.#uuid && deviceSeq !== null && deviceSeq <= this.lastSeq;
  }

  /** Becomes another device, which has done nothing yet. */
  rename(uuid: string): void {
    this.#uuid = uuid;
    this.#nextSeq = 1;
    this.#offered = 0;
  }

  row(): DeviceRow {
    return { deviceUuid: this.#uuid, nextDeviceSeq: this.#nextSeq, offered: this.#offered, ...this.#clock };
  }
}
