import type { Status, Syncline } from '../../../src/index.js';
import { byId } from '../dom.js';

/** The pill in the header, its longer words in the panel, and the switch that cuts the line on purpose. */
export class ConnectionView {
  readonly #sync: Syncline;
  readonly #pill = byId('pill', HTMLButtonElement);
  readonly #label = byId('pill-label', HTMLElement);
  readonly #sentence = byId('connection', HTMLElement);
  readonly #offline = byId('offline', HTMLButtonElement);
  #ticking: ReturnType<typeof setInterval> | null = null;

  constructor(sync: Syncline) {
    this.#sync = sync;
    this.#offline.addEventListener('click', () => {
      this.#sync.setOnline(this.#offline.getAttribute('aria-checked') === 'true');
      this.show();
    });
  }

  show(): void {
    const { status } = this.#sync;
    this.#pill.dataset['state'] = status.state;
    this.#label.textContent = pillText(status);
    this.#sentence.textContent = sentence(status, Date.now());
    this.#offline.setAttribute('aria-checked', String(status.state === 'offline' && status.retryAt === null));
    this.#tick(status.state === 'offline' && status.retryAt !== null);
  }

  /** Counts down to the next attempt, and only then. */
  #tick(wanted: boolean): void {
    if (wanted && this.#ticking === null) this.#ticking = setInterval(() => this.show(), 500);
    if (wanted || this.#ticking === null) return;
    clearInterval(this.#ticking);
    this.#ticking = null;
  }
}

export function pillText(status: Status): string {
  switch (status.state) {
    case 'saved':
      return 'Saved';
    case 'saving':
      return 'Saving…';
    case 'connecting':
      return status.pending > 0 ? `Connecting, ${status.pending} waiting` : 'Connecting…';
    case 'offline':
      return status.pending > 0 ? `Offline, ${status.pending} waiting` : 'Offline';
  }
}

function sentence(status: Status, now: number): string {
  switch (status.state) {
    case 'saved':
      return 'Everything is on the broker’s disk.';
    case 'saving':
      return `${changes(status.pending)} on the way to the broker.`;
    case 'connecting':
      return `Catching up. ${waiting(status.pending)}`;
    case 'offline':
      return `${waiting(status.pending)} ${nextTry(status.retryAt, now)}`;
  }
}

function waiting(pending: number): string {
  return pending === 0 ? 'Nothing waits here.' : `${changes(pending)} kept on this device.`;
}

function changes(count: number): string {
  return count === 1 ? 'One change' : `${count} changes`;
}

function nextTry(retryAt: number | null, now: number): string {
  if (retryAt === null) return 'Offline on purpose.';
  const seconds = Math.max(0, Math.ceil((retryAt - now) / 1000));
  return seconds === 0 ? 'Trying again now.' : `Next try in ${seconds} s.`;
}
