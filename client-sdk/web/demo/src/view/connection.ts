import type { Status } from '../../../src/index.js';
import { byId } from '../dom.js';
import { isDown, type Lines } from '../lines.js';

/** The pill in the header, its longer words in the panel, and the switch that cuts the line on purpose. */
export class ConnectionView {
  readonly #lines: Lines;
  readonly #pill = byId('pill', HTMLButtonElement);
  readonly #label = byId('pill-label', HTMLElement);
  readonly #sentence = byId('connection', HTMLElement);
  /** Two switches for one thing: in the panel, and in the header where the panel is a drawer. */
  readonly #switches = [byId('offline', HTMLButtonElement), byId('airplane', HTMLButtonElement)];
  /** The attempts to come back are no news: until one succeeds, the line is down. */
  #isDown = false;
  #ticking: ReturnType<typeof setInterval> | null = null;

  constructor(lines: Lines) {
    this.#lines = lines;
    for (const button of this.#switches) button.addEventListener('click', () => this.#turn());
  }

  show(): void {
    const { status } = this.#lines;
    if (status.state !== 'connecting') this.#isDown = isDown(status);
    this.#pill.dataset['state'] = this.#isDown ? 'offline' : status.state;
    this.#label.textContent = pillText(status, this.#isDown);
    this.#sentence.textContent = sentence(status, Date.now());
    for (const button of this.#switches) button.setAttribute('aria-checked', String(this.#isOff));
    this.#tick(status.state === 'offline' && status.retryAt !== null);
  }

  /** Offline on purpose. */
  get #isOff(): boolean {
    const { status } = this.#lines;
    return status.state === 'offline' && status.retryAt === null;
  }

  #turn(): void {
    this.#lines.setOnline(this.#isOff);
    this.show();
  }

  /** Counts down to the next attempt, and only then. */
  #tick(wanted: boolean): void {
    if (wanted && this.#ticking === null) this.#ticking = setInterval(() => this.show(), 500);
    if (wanted || this.#ticking === null) return;
    clearInterval(this.#ticking);
    this.#ticking = null;
  }
}

function pillText(status: Status, isDown: boolean): string {
  const waits = status.pending > 0 ? `, ${status.pending} waiting` : '';
  if (isDown) return `Offline${waits}`;
  if (status.state === 'connecting') return waits ? `Connecting${waits}` : 'Connecting…';
  return status.state === 'saved' ? 'Saved' : 'Saving…';
}

function sentence(status: Status, now: number): string {
  switch (status.state) {
    case 'saved':
      return 'Everything is on the broker’s disk.';
    case 'saving':
      return `${changes(status.pending)} on the way to the broker.`;
    case 'connecting':
      return `${waiting(status.pending)} Trying the broker now.`;
    case 'offline':
      return `${waiting(status.pending)} ${nextTry(status.retryAt, now)}`;
    case 'needs_auth':
    case 'closed':
      return `${waiting(status.pending)} ${status.reason}.`;
  }
}

function waiting(pending: number): string {
  return pending === 0 ? 'Nothing waits here.' : `${changes(pending)} kept on this device.`;
}

function changes(count: number): string {
  return count === 1 ? 'One change' : `${count} changes`;
}

function nextTry(retryAt: number | null, now: number): string {
  if (retryAt === null) return 'Airplane mode is on.';
  const seconds = Math.max(0, Math.ceil((retryAt - now) / 1000));
  return seconds === 0 ? 'Trying again now.' : `Next try in ${seconds} s.`;
}
