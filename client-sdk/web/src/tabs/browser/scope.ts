/**
 * All tabs of one origin and user as one device: one of them leads and holds the connection, the others follow.
 *
 * Who leads is settled by a Web Lock, and proved by the owner's word of the device's slot, which every write checks (WEB-4): a
 * leader that was frozen, and comes to after another one took over, writes nothing and follows.
 */
import type { Driver } from '../../driver.js';
import type { RunnerListener, RunnerOptions } from '../../runner.js';
import { SlotLostError } from '../../storage/store.js';
import type { Channel } from '../environment.js';
import { SHARED, type Tenancy, type Tenure } from '../tenancy.js';
import { Following } from './following.js';
import { Leadership } from './leadership.js';
import { Leading } from './leading.js';
import type { FollowerWord, LeaderWord, Word } from './words.js';

/** How long a leader may take to welcome a page; an unanswering one is taken the lead from. */
const WELCOME_MS_MAX = 700;

type Welcome = Extract<LeaderWord, { type: 'welcome' }>;

/** How a page takes part. */
export type Part = { readonly tenure: Tenure } | { readonly welcome: Welcome };

/** See above. */
export class BrowserScope {
  readonly #channel: Channel;
  readonly #leadership: Leadership;
  #driver: Leading | Following | undefined;
  /** Somebody may welcome this page. */
  #welcomed: ((welcome: Welcome) => void) | undefined;
  /** What the leader has said between its welcome and the driver that listens to it. */
  #since: LeaderWord[] = [];
  #closed = false;

  constructor(
    name: string,
    private readonly tenancy: Tenancy,
    locks: LockManager,
  ) {
    this.#channel = tenancy.environment.openChannel(`${name} ${SHARED}`);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#leadership = new Leadership(`${name}/${SHARED}`, locks, () => this.#onLost());
  }

  /** Leads, or follows whoever does. */
  async settle(): Promise<Part> {
    this.#driver = undefined;
    if (await this.#leadership.lead()) return this.#lead();
    const welcome = await this.#greeted();
    if (welcome !== undefined) return { welcome };
    // Whoever leads does not run.
    if (await this.#leadership.steal()) return this.#lead();
    return this.settle();
  }

  /** What drives the client in its part. */
  driver(part: Part, options: Omit<RunnerOptions, 'tenure'>): Driver {
    if ('welcome' in part) return (this.#driver = this.#following(part.welcome, options.listener));
    const failed = (error: unknown): void => {
      options.listener.failed(error);
      // Another page may be able to write.
      this.#leadership.release();
    };
    const listener = { ...options.listener, failed };
    return (this.#driver = new Leading({ ...options, ...part, listener }, this.#channel));
  }

  close(): void {
    this.#closed = true;
    this.#leadership.release();
    this.#channel.close();
  }

  async #lead(): Promise<Part> {
    try {
      return { tenure: await this.tenancy.settleShared() };
    } catch (error) {
      // Another page was quicker.
      if (error instanceof SlotLostError) return this.settle();
      throw error;
    }
  }

  #following(welcome: Welcome, listener: RunnerListener): Following {
    const { environment } = this.tenancy;
    const following = new Following({
      channel: this.#channel,
      environment,
      listener,
      welcome,
      since: this.#since.splice(0),
      silent: () => void this.#takeOver(following),
    });
    this.#leadership.wait(() => this.#goOn(following));
    return following;
  }

  async #takeOver(following: Following): Promise<void> {
    if (await this.#leadership.steal()) this.#goOn(following);
  }

  /** This page leads from now on; its client settles anew, as the leader. */
  #goOn(following: Following): void {
    if (this.#closed || this.#driver !== following) return this.#leadership.release();
    following.lose();
  }

  /** Another page leads. */
  #onLost(): void {
    if (this.#driver instanceof Leading) this.#driver.lose();
  }

  #greeted(): Promise<Welcome | undefined> {
    return new Promise((resolve) => {
      const late = setTimeout(() => settle(undefined), WELCOME_MS_MAX);
      const settle = (welcome: Welcome | undefined): void => {
        clearTimeout(late);
        this.#welcomed = undefined;
        resolve(welcome);
      };
      this.#welcomed = settle;
      this.#channel.postMessage({ type: 'hello' } satisfies FollowerWord);
    });
  }

  #hear(word: Word): void {
    if (this.#closed) return;
    if (isOfFollower(word)) {
      if (this.#driver instanceof Leading) void this.#driver.hear(word);
      return;
    }
    if (this.#driver instanceof Following) this.#driver.hear(word);
    else if (word.type !== 'welcome') this.#since.push(word);
    else {
      this.#since.splice(0);
      this.#welcomed?.(word);
    }
  }
}

function isOfFollower(word: Word): word is FollowerWord {
  return ['hello', 'ask', 'publish', 'online', 'wake'].includes(word.type);
}
