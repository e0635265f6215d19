/** The schema: which event types mean what (SCHEMA-1 … SCHEMA-4). */
import { valueHash } from './digest.js';
import { boolean, integer, map, MalformedError, text } from './fields.js';
import { isName } from './ids.js';
import { isMap, isReservedKey, toValue, type Value, type ValueMap } from './value.js';

/** What a collection is. */
export type Kind = 'set' | 'map' | 'counter' | 'list';

/** Who wins when events on one key do not know of each other (STATE-4 … STATE-8). */
export type Conflict = 'last_write_wins' | 'add_wins' | 'remove_wins' | 'keep_both';

/** One collection as the schema defines it. Names that its kind does not have are absent. */
export interface CollectionSchema {
  readonly kind: Kind;
  /** A counter has none. */
  readonly conflict?: Conflict;
  /** The names in `event_data` of what an event carries. */
  readonly key: string;
  readonly value?: string;
  readonly amount?: string;
  readonly list?: string;
  readonly after?: string;
  /** Event types. */
  readonly add: string;
  readonly remove?: string;
  /** STATE-8. */
  readonly openValuesMax?: number;
}

/** What an event does to an entry. */
export interface Operation {
  readonly collection: string;
  readonly key: string;
  readonly action: Action;
}

/** What is to become of an entry, whatever the schema calls the event for it. */
export type Action =
  | { readonly type: 'put'; readonly value: Value }
  | { readonly type: 'remove' }
  | { readonly type: 'count'; readonly amount: number }
  /** `list` null: the collection has only one. `after` undefined: at the end; null: at the beginning (LIST-2). */
  | {
      readonly type: 'place';
      readonly value: Value;
      readonly list: string | null;
      readonly after: string | null | undefined;
    };

/** Collections and operations of one deployment. Never changes. */
export class Schema {
  readonly #collections: ReadonlyMap<string, CollectionSchema>;
  /** The collection of each event type. */
  readonly #types: ReadonlyMap<string, string>;

  private constructor(
    /** 64 hex digits. */
    readonly hash: string,
    /** The map of SCHEMA-2. */
    readonly map: ValueMap,
    collections: ReadonlyMap<string, CollectionSchema>,
  ) {
    this.#collections = collections;
    this.#types = typesOf(collections);
  }

  /** Reads the document of SCHEMA-3 and checks its hash. Throws `MalformedError`. */
  static fromDocument(document: string): Schema {
    const outer = parseJsonMap(document);
    const schema = Schema.fromMap(map(outer, 'schema'));
    if (schema.hash !== text(outer, 'hash')) throw new MalformedError('the hash is not that of the schema');
    return schema;
  }

  /** Reads the map of SCHEMA-2. Throws `MalformedError`. */
  static fromMap(schema: ValueMap): Schema {
    boolean(schema, 'strict');
    expectNames('the schema', schema, ['strict', 'collections']);
    const specs = map(schema, 'collections');
    const collections = Object.keys(specs).map((name) => [name, readCollection(name, specs)] as const);
    return new Schema(valueHash(schema), schema, new Map(collections));
  }

  /** Names of the collections. */
  get collections(): readonly string[] {
    return [...this.#collections.keys()];
  }

  collection(name: string): CollectionSchema | undefined {
    return this.#collections.get(name);
  }

  /** What an event does; undefined: it touches no state (STATE-1); `bad_data`: it cannot (STATE-11). */
  operation(eventType: string, eventData: Value): Operation | 'bad_data' | undefined {
    const collection = this.#types.get(eventType);
    const schema = collection === undefined ? undefined : this.#collections.get(collection);
    if (collection === undefined || schema === undefined) return undefined;
    const key = isMap(eventData) ? named(eventData, schema.key) : undefined;
    if (!isMap(eventData) || typeof key !== 'string' || isReservedKey(key)) return 'bad_data';
    const action = eventType === schema.remove ? REMOVE : addOf(schema, eventData);
    return action === undefined ? 'bad_data' : { collection, key, action };
  }
}

const REMOVE: Action = { type: 'remove' };

/** What an add says; undefined: it lacks something (STATE-9, STATE-10, LIST-2). */
function addOf(schema: CollectionSchema, data: ValueMap): Action | undefined {
  switch (schema.kind) {
    case 'set':
      return { type: 'put', value: true };
    case 'map':
      return putOf(named(data, schema.value));
    case 'counter':
      return countOf(named(data, schema.amount));
    case 'list':
      return placeOf(schema, data);
  }
}

function putOf(value: Value | undefined): Action | undefined {
  return value === undefined ? undefined : { type: 'put', value };
}

function countOf(amount: Value = 1): Action | undefined {
  return Number.isSafeInteger(amount) ? { type: 'count', amount: amount as number } : undefined;
}

function placeOf(schema: CollectionSchema, data: ValueMap): Action | undefined {
  const value = schema.value === undefined ? true : named(data, schema.value);
  const list = schema.list === undefined ? null : named(data, schema.list);
  const after = named(data, schema.after);
  if (value === undefined || !(list === null ? schema.list === undefined : typeof list === 'string'))
    return undefined;
  if (after !== undefined && after !== null && typeof after !== 'string') return undefined;
  return { type: 'place', value, list: list as string | null, after };
}

/** A member of its own, not one that every object has. */
function named(data: ValueMap, name: string | undefined): Value | undefined {
  return name !== undefined && Object.hasOwn(data, name) ? data[name] : undefined;
}

// Reading

interface KindRules {
  readonly conflicts: readonly Conflict[];
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

/** The table of SCHEMA-1. */
const KINDS: Readonly<Record<Kind, KindRules>> = {
  set: {
    conflicts: ['last_write_wins', 'add_wins', 'remove_wins'],
    required: ['key', 'add', 'remove'],
    optional: [],
  },
  map: {
    conflicts: ['last_write_wins', 'add_wins', 'remove_wins', 'keep_both'],
    required: ['key', 'add', 'remove', 'value'],
    optional: ['open_values_max'],
  },
  counter: { conflicts: [], required: ['key', 'add'], optional: ['amount'] },
  list: {
    conflicts: ['last_write_wins', 'add_wins', 'remove_wins'],
    required: ['key', 'add', 'remove', 'after'],
    optional: ['value', 'list'],
  },
};

const NAME_CHARACTERS_MAX = 64;
const OPEN_VALUES_MIN = 2;
const OPEN_VALUES_MAX = 64;

function parseJsonMap(document: string): ValueMap {
  const value = toValue(parseJson(document));
  if (!isMap(value)) throw new MalformedError('the schema document is not a map');
  return value;
}

function parseJson(document: string): unknown {
  try {
    return JSON.parse(document);
  } catch {
    throw new MalformedError('the schema document is not JSON');
  }
}

/** A collection that this client cannot apply would make it disagree silently, so everything unknown is refused. */
function readCollection(name: string, specs: ValueMap): CollectionSchema {
  if (!isName(name)) throw tooOld(name, 'its name');
  const spec = map(specs, name);
  const kind = text(spec, 'kind');
  if (!Object.hasOwn(KINDS, kind)) throw tooOld(name, `the kind ${kind}`);
  const { conflicts, required, optional } = KINDS[kind as Kind];
  const named = conflicts.length > 0 ? ['kind', 'conflict'] : ['kind'];
  expectNames(`collection ${name}`, spec, [...named, ...required, ...optional]);
  const texts = [...required, ...optional.filter((one) => one in spec && one !== 'open_values_max')];
  return {
    kind: kind as Kind,
    ...(conflicts.length > 0 ? readConflict(name, spec, conflicts) : {}),
    ...Object.fromEntries(texts.map((one) => [one, shortText(spec, one)])),
  } as CollectionSchema;
}

function readConflict(
  name: string,
  spec: ValueMap,
  allowed: readonly Conflict[],
): Pick<CollectionSchema, 'conflict' | 'openValuesMax'> {
  const conflict = allowed.find((one) => one === text(spec, 'conflict'));
  if (conflict === undefined) throw tooOld(name, `${text(spec, 'kind')} with ${text(spec, 'conflict')}`);
  if (conflict !== 'keep_both') {
    expectNames(
      `collection ${name}`,
      spec,
      Object.keys(spec).filter((one) => one !== 'open_values_max'),
    );
    return { conflict };
  }
  const openValuesMax = integer(spec, 'open_values_max', OPEN_VALUES_MIN);
  if (openValuesMax > OPEN_VALUES_MAX) throw tooOld(name, `${openValuesMax} open values`);
  return { conflict, openValuesMax };
}

/** A name in `event_data`, or an event type. */
function shortText(spec: ValueMap, name: string): string {
  const given = text(spec, name);
  const characters = [...given].length;
  if (characters >= 1 && characters <= NAME_CHARACTERS_MAX && !isReservedKey(given)) return given;
  throw new MalformedError(`${name} is not 1 to ${NAME_CHARACTERS_MAX} characters`);
}

function expectNames(what: string, given: ValueMap, known: readonly string[]): void {
  const other = Object.keys(given).find((name) => !known.includes(name));
  if (other !== undefined) throw new MalformedError(`this client is too old for ${what} (${other})`);
}

function tooOld(collection: string, what: string): MalformedError {
  return new MalformedError(`this client is too old for collection ${collection} (${what})`);
}

function typesOf(collections: ReadonlyMap<string, CollectionSchema>): Map<string, string> {
  const types = new Map<string, string>();
  for (const [name, { add, remove }] of collections) {
    for (const type of remove === undefined ? [add] : [add, remove]) {
      if (types.has(type)) throw new MalformedError(`the event type ${type} is named twice`);
      types.set(type, name);
    }
  }
  return types;
}
