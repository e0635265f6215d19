/**
 * The tab that holds the connection, for itself and for those that follow it.
 *
 * What followers ask for goes through this tab's runner as if its own app had asked; what becomes of it is told to all, in the
 * order in which it happened.
 */
import { RefusedError } from '../../api.js';
import type { CoreView, Driver, Published } from '../../driver.js';
import type { IntentRow } from '../../core/messages.js';
import type { Value } from '../../protocol/value.js';
import { Runner, type RunnerListener, type RunnerOptions, type Told } from '../../runner.js';
import { SlotLostError } from '../../storage/store.js';
import type { Channel } from '../environment.js';
import type { FollowerWord, Happening, Head, LeaderWord, Patch, Whole } from './words.js';

/** How many requests are remembered: a follower may ask again for what was taken just before. */
const REQUESTS_MAX = 10_000;
/** Up to so many changes that wait are told at once; the list of more of them only now and then. */
const PENDING_SHORT = 64;
const PENDING_MS = 100;

/** What became of a request. */
interface Request {
  /** undefined: not yet. */
  published: Published | undefined;
  readonly stored: Promise<Published>;
}

/** See above. */
export class Leading implements Driver {
  readonly leads = true;
  readonly #runner: Runner;
  readonly #requests = new Map<string, Request>();
  readonly #presence = new Map<string, Uint8Array>();
  #online: boolean;
  #hasFollowers = false;
  #happened: Happening[] = [];
  #words: LeaderWord[] = [];
  #flushing = false;
  #over = false;
  #schemaHash: string | undefined;
  /** What of the changes that wait was told last. */
  #pendingTold = -1;
  #pendingTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly options: RunnerOptions,
    private readonly channel: Channel,
  ) {
    this.#online = options.online;
    this.#runner = new Runner({
      ...options,
      keepsRequests: true,
      listener: this.#listener(options.listener),
    });
    for (const row of options.tenure.stored.intents ?? []) this.#remember(row);
  }

  get core(): CoreView {
    return this.#runner.core;
  }

  /** Tells everybody who leads now, and what there is. */
  start(): void {
    this.#runner.start();
    this.#hasFollowers = true;
    this.#welcome(false);
  }

  setOnline(online: boolean): void {
    this.#online = online;
    this.#runner.setOnline(online);
    this.#tell();
  }

  wake(): void {
    this.#runner.wake();
  }

  publish(
    eventType: string,
    eventData: Value,
    taken: (published: Published) => void,
    request: string,
  ): Promise<Published> {
    const known = this.#requests.get(request);
    if (known === undefined) return this.#publish(eventType, eventData, taken, request);
    if (known.published !== undefined) taken(known.published);
    return known.stored;
  }

  async stop(): Promise<void> {
    await this.#runner.stop();
    this.#end();
  }

  end(error: Error): void {
    this.#end();
    this.#runner.end(error);
  }

  /** Another page leads now. */
  lose(): void {
    this.end(new SlotLostError());
    this.options.listener.lost();
  }

  /** What a follower says. */
  async hear(word: FollowerWord): Promise<void> {
    if (this.#over) return;
    const { tenancy, tenure, listener } = this.options;
    switch (word.type) {
      case 'hello':
        // A page that was frozen may hear this long after another one leads.
        if (await tenancy.store.owns(tenure.slot, tenure.owner)) return this.#greet();
        return;
      case 'ask':
        if (word.term === tenure.owner) this.#say({ type: 'alive', term: tenure.owner });
        return;
      case 'publish':
        return this.#onRequest(word);
      case 'online':
        return listener.switched(word.online);
      case 'wake':
        return this.wake();
    }
  }

  #greet(): void {
    if (this.#over) return;
    this.#hasFollowers = true;
    this.#flush();
    this.#welcome(true);
  }

  async #onRequest({ request, eventType, eventData }: FollowerWord & { type: 'publish' }): Promise<void> {
    const taken = (published: Published): void => this.#say({ type: 'taken', request, published });
    try {
      const published = await this.publish(eventType, eventData, taken, request);
      this.#say({ type: 'stored', request, published });
    } catch (error) {
      // Whoever leads then is asked again.
      if (error instanceof SlotLostError || this.#over) return;
      const failure =
        error instanceof RefusedError
          ? { refusal: error.refusal, reason: error.reason }
          : { refusal: undefined, reason: error instanceof Error ? error.message : String(error) };
      this.#say({ type: 'failed', request, failure });
    }
  }

  #publish(
    eventType: string,
    eventData: Value,
    taken: (published: Published) => void,
    name: string,
  ): Promise<Published> {
    let published: Published | undefined;
    const stored = this.#runner.publish(
      eventType,
      eventData,
      (it) => {
        published = it;
        const request = this.#requests.get(name);
        if (request !== undefined) request.published = it;
        taken(it);
      },
      name,
    );
    this.#keep(name, { published, stored });
    stored.catch(() => this.#requests.delete(name));
    return stored;
  }

  #remember({ id, deviceSeq, request }: IntentRow): void {
    if (request === undefined) return;
    const published = { id, deviceSeq };
    this.#keep(request, { published, stored: Promise.resolve(published) });
  }

  #keep(name: string, request: Request): void {
    this.#requests.set(name, request);
    for (const oldest of this.#requests.keys()) {
      if (this.#requests.size <= REQUESTS_MAX) return;
      this.#requests.delete(oldest);
    }
  }

  // What is told

  #listener(own: RunnerListener): RunnerListener {
    return {
      ...own,
      told: (output) => {
        if (output.type === 'status' && output.phase === 'offline') this.#presence.clear();
        this.#happens(withoutPayload(output));
        own.told(output);
      },
      message: (topic, payload) => {
        own.message(topic, payload);
        if (!topic.includes('/presence/')) return;
        this.#presence.set(topic, payload);
        this.#happens({ type: 'presence', topic, payload });
      },
      setAside: (row) => {
        own.setAside(row);
        this.#happens({ type: 'aside', row });
      },
      unauthorized: (reason, isFinal) => {
        own.unauthorized(reason, isFinal);
        this.#happens({ type: 'unauthorized', reason, isFinal });
      },
    };
  }

  #happens(happening: Happening): void {
    if (!this.#hasFollowers) return;
    this.#happened.push(happening);
    this.#tell();
  }

  /** Once what is being done now is done. */
  #tell(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }

  /** Behind the news of what came before it, but for what is taken. */
  #say(word: LeaderWord): void {
    this.#words.push(word);
    this.#tell();
  }

  #flush(): void {
    this.#flushing = false;
    const [happenings, words] = [this.#happened, this.#words];
    [this.#happened, this.#words] = [[], []];
    if (this.#over) return;
    // Whoever asked has to know its intent before it hears what comes of it: that it replaces another one, say.
    const [taken, others] = [words.filter(isTaken), words.filter((word) => !isTaken(word))];
    for (const word of taken) this.channel.postMessage(word);
    if (this.#hasFollowers) this.#news(happenings);
    for (const word of others) this.channel.postMessage(word);
  }

  #news(happenings: readonly Happening[]): void {
    const { core } = this.#runner;
    // Another schema is another view of everything.
    if (core.schema?.hash !== this.#schemaHash) this.#welcome(false);
    const { owner: term } = this.options.tenure;
    const entries = happenings.flatMap((one) => (one.type === 'changed' ? [this.#patch(one)] : []));
    this.channel.postMessage({
      type: 'news',
      term,
      head: this.#head(),
      happenings,
      entries,
      pending: this.#pendingNews(),
    } satisfies LeaderWord);
  }

  #patch({ collection, keys }: Told & { type: 'changed' }): Patch {
    const entries = this.#runner.core.entries(collection);
    return [collection, keys.map((key) => [key, entries.get(key)] as const)];
  }

  /** The list of what waits, if it is another one. It costs what it is long, and may change with each change. */
  #pendingNews(): Whole['pending'] | undefined {
    const { core } = this.#runner;
    if (this.#pendingTold === core.inputs || this.#pendingTimer !== undefined) return undefined;
    const pending = core.pending();
    this.#pendingTold = core.inputs;
    if (pending.length > PENDING_SHORT)
      this.#pendingTimer = setTimeout(() => {
        this.#pendingTimer = undefined;
        this.#tell();
      }, PENDING_MS);
    return pending;
  }

  #welcome(greets: boolean): void {
    const { core } = this.#runner;
    this.#schemaHash = core.schema?.hash;
    const collections = core.schema?.collections ?? [];
    const whole: Whole = {
      head: this.#head(),
      schema: core.schema?.map,
      entries: collections.map((collection) => [collection, [...core.entries(collection)]]),
      pending: core.pending(),
      presence: [...this.#presence],
    };
    this.channel.postMessage({
      type: 'welcome',
      term: this.options.tenure.owner,
      greets,
      whole,
    } satisfies LeaderWord);
  }

  #head(): Head {
    const { deviceUuid, seq, epoch, status } = this.#runner.core;
    return { deviceUuid, seq, epoch, status, online: this.#online };
  }

  #end(): void {
    this.#flush();
    this.#over = true;
    clearTimeout(this.#pendingTimer);
  }
}

function isTaken({ type }: LeaderWord): boolean {
  return type === 'taken';
}

/** Followers need not know what went out. */
function withoutPayload(output: Told): Told {
  return output.type === 'send' ? { ...output, payload: new Uint8Array() } : output;
}
