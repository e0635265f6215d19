/** What the tabs of one device say to each other over their channel. */
import type { CoreStatus, PendingIntent } from '../../core/messages.js';
import type { StateEntry } from '../../protocol/entry.js';
import type { Value, ValueMap } from '../../protocol/value.js';
import type { Published } from '../../driver.js';
import type { Told } from '../../runner.js';
import type { AsideRow } from '../../storage/store.js';

/** Entries of one collection; undefined: there is none any more. */
export type Patch = readonly [
  collection: string,
  entries: readonly (readonly [string, StateEntry | undefined])[],
];

/** Where the leader's core stands. */
export interface Head {
  readonly deviceUuid: string;
  readonly seq: number;
  readonly epoch: string;
  readonly status: CoreStatus;
  /** Whether the app wants to be online. */
  readonly online: boolean;
}

/** All that a follower shows. */
export interface Whole {
  readonly head: Head;
  /** The map of SCHEMA-2. */
  readonly schema: ValueMap | undefined;
  readonly entries: readonly Patch[];
  readonly pending: readonly PendingIntent[];
  /** Who is here: the last message of each topic. */
  readonly presence: readonly (readonly [string, Uint8Array])[];
}

/** What happened, in the leader's order. */
export type Happening =
  | Told
  | { readonly type: 'presence'; readonly topic: string; readonly payload: Uint8Array }
  | { readonly type: 'aside'; readonly row: AsideRow }
  | { readonly type: 'unauthorized'; readonly reason: string; readonly isFinal: boolean };

/** Why an intent was not taken. */
export interface Failure {
  /** Of a `RefusedError`; undefined: it was another error. */
  readonly refusal: string | undefined;
  readonly reason: string;
}

/** Of whoever leads. `term` tells one time of leading from another. */
export type LeaderWord =
  /** `greets`: only those that do not follow this leader yet. */
  | { readonly type: 'welcome'; readonly term: string; readonly greets: boolean; readonly whole: Whole }
  | { readonly type: 'alive'; readonly term: string }
  | {
      readonly type: 'news';
      readonly term: string;
      readonly head: Head;
      readonly happenings: readonly Happening[];
      readonly entries: readonly Patch[];
      /** undefined: as before. */
      readonly pending: readonly PendingIntent[] | undefined;
    }
  | { readonly type: 'taken'; readonly request: string; readonly published: Published }
  | { readonly type: 'stored'; readonly request: string; readonly published: Published }
  | { readonly type: 'failed'; readonly request: string; readonly failure: Failure };

/** Of whoever follows. */
export type FollowerWord =
  | { readonly type: 'hello' }
  | { readonly type: 'ask'; readonly term: string }
  | {
      readonly type: 'publish';
      readonly request: string;
      readonly eventType: string;
      readonly eventData: Value;
    }
  | { readonly type: 'online'; readonly online: boolean }
  | { readonly type: 'wake' };

export type Word = LeaderWord | FollowerWord;
