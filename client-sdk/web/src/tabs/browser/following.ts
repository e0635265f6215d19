/**
 * A tab that shows what another one's core shows, and publishes through it.
 *
 * What is not durable yet when the leader goes is asked for again, from whoever leads then; each request has a name by which
 * that one knows what is stored already.
 */
import { RefusedError } from '../../api.js';
import type { Driver, Published } from '../../driver.js';
import type { Value } from '../../protocol/value.js';
import type { RunnerListener } from '../../runner.js';
import { SlotLostError } from '../../storage/store.js';
import type { Channel, Environment } from '../environment.js';
import { Mirror } from './mirror.js';
import type { Failure, FollowerWord, Happening, LeaderWord } from './words.js';

/** How often a leader is asked whether it is there. */
const ASK_MS = 250;
/** How long it may take to answer. */
const SILENCE_MS_MAX = 500;

type Welcome = Extract<LeaderWord, { type: 'welcome' }>;

interface Waiting {
  readonly eventType: string;
  readonly eventData: Value;
  readonly taken: (published: Published) => void;
  readonly stored: (published: Published) => void;
  readonly failed: (error: Error) => void;
}

/** What it works with. */
export interface FollowingOptions {
  readonly channel: Channel;
  readonly environment: Environment;
  readonly listener: RunnerListener;
  readonly welcome: Welcome;
  /** What the leader has said since. */
  readonly since: readonly LeaderWord[];
  /** The leader does not answer. */
  silent(): void;
}

/** See above. */
export class Following implements Driver {
  readonly leads = false;
  #term: string;
  #mirror: Mirror;
  #wanted: boolean;
  #presence: Welcome['whole']['presence'];
  readonly #waiting = new Map<string, Waiting>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #askedAt: number | undefined;
  #tickedAt: number;
  #stopped: Error | undefined;
  /** What was heard before anybody listens here. */
  #unheard: LeaderWord[] | undefined;
  #idle: () => void = () => undefined;

  constructor(private readonly options: FollowingOptions) {
    const { term, whole } = options.welcome;
    this.#term = term;
    this.#mirror = new Mirror(whole);
    this.#wanted = whole.head.online;
    this.#presence = whole.presence;
    this.#unheard = [...options.since];
    this.#tickedAt = options.environment.steady();
  }

  get core(): Mirror {
    return this.#mirror;
  }

  get wanted(): boolean {
    return this.#wanted;
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), ASK_MS);
    this.#showAll();
    const unheard = this.#unheard ?? [];
    this.#unheard = undefined;
    for (const word of unheard) this.hear(word);
  }

  /** Whoever leads next knows it from here, if this one does not hear it any more. */
  setOnline(online: boolean): void {
    this.#wanted = online;
    this.#say({ type: 'online', online });
  }

  wake(): void {
    this.#say({ type: 'wake' });
  }

  publish(
    eventType: string,
    eventData: Value,
    taken: (published: Published) => void,
    request: string,
  ): Promise<Published> {
    return new Promise((stored, failed) => {
      if (this.#stopped !== undefined) return failed(this.#stopped);
      this.#waiting.set(request, { eventType, eventData, taken, stored, failed });
      this.#say({ type: 'publish', request, eventType, eventData });
    });
  }

  /** What was asked for is on its way to whoever leads; nothing is waited for that a leader has not. */
  async stop(): Promise<void> {
    if (this.#waiting.size > 0) await new Promise<void>((idle) => (this.#idle = idle));
    this.end(new Error('the client is closed'));
  }

  end(error: Error): void {
    this.#stopped ??= error;
    clearInterval(this.#timer);
    for (const { failed } of this.#waiting.values()) failed(error);
    this.#waiting.clear();
    this.#idle();
  }

  /** This page is to lead, or nobody is known that does: what waits is asked for anew. */
  lose(): void {
    this.end(new SlotLostError());
    this.options.listener.lost();
  }

  /** What the leader says. */
  hear(word: LeaderWord): void {
    if (this.#stopped !== undefined) return;
    if (this.#unheard !== undefined) return void this.#unheard.push(word);
    switch (word.type) {
      case 'welcome':
        return this.#onWelcome(word);
      case 'alive':
        if (word.term === this.#term) this.#askedAt = undefined;
        return;
      case 'news':
        if (word.term === this.#term) this.#onNews(word);
        return;
      case 'taken':
        this.#waiting.get(word.request)?.taken(word.published);
        return;
      case 'stored':
        return this.#take(word.request, ({ stored }) => stored(word.published));
      case 'failed':
        return this.#take(word.request, ({ failed }) => failed(errorOf(word.failure)));
    }
  }

  #onWelcome({ term, greets, whole }: Welcome): void {
    const isOther = term !== this.#term;
    if (greets && !isOther) return;
    const before = this.#mirror.collections;
    this.#term = term;
    this.#askedAt = undefined;
    this.#mirror = new Mirror(whole);
    this.#wanted = whole.head.online;
    this.#presence = whole.presence;
    this.#showAll(before);
    if (!isOther) return;
    this.options.listener.otherLeader();
    for (const [request, { eventType, eventData }] of this.#waiting)
      this.#say({ type: 'publish', request, eventType, eventData });
  }

  #onNews({ head, happenings, entries, pending }: LeaderWord & { type: 'news' }): void {
    this.#askedAt = undefined;
    const before = JSON.stringify(this.#mirror.status);
    this.#mirror.take(head, entries, pending);
    this.#wanted = head.online;
    for (const happening of happenings) this.#tell(happening);
    // What waits may have changed alone.
    if (pending !== undefined || before !== JSON.stringify(head.status)) this.#tell(head.status);
  }

  /** As if everything had just become so. */
  #showAll(before: readonly string[] = []): void {
    const { told, message } = this.options.listener;
    told(this.#mirror.status);
    for (const [topic, payload] of this.#presence) message(topic, payload);
    const collections = new Set([...before, ...this.#mirror.collections]);
    for (const collection of collections) told({ type: 'changed', collection, keys: [] });
  }

  #tell(happening: Happening): void {
    const { listener } = this.options;
    if (happening.type === 'presence') listener.message(happening.topic, happening.payload);
    else if (happening.type === 'aside') listener.setAside(happening.row);
    else if (happening.type === 'unauthorized') listener.unauthorized(happening.reason, happening.isFinal);
    else listener.told(happening);
  }

  /** A page that did not run itself has heard nobody. */
  #tick(): void {
    const now = this.options.environment.steady();
    const wasAsleep = now - this.#tickedAt > ASK_MS + SILENCE_MS_MAX;
    this.#tickedAt = now;
    if (wasAsleep) this.#askedAt = undefined;
    if (this.#askedAt === undefined) {
      this.#askedAt = now;
      return this.#say({ type: 'ask', term: this.#term });
    }
    if (now - this.#askedAt >= SILENCE_MS_MAX) this.options.silent();
  }

  #take(request: string, then: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined) return;
    this.#waiting.delete(request);
    then(waiting);
    if (this.#waiting.size === 0) this.#idle();
  }

  #say(word: FollowerWord): void {
    if (this.#stopped === undefined) this.options.channel.postMessage(word);
  }
}

function errorOf({ refusal, reason }: Failure): Error {
  return refusal === undefined ? new Error(reason) : new RefusedError(refusal, reason);
}
