/** The schema: which event types mean what (SCHEMA-1 … SCHEMA-3). */
import { valueHash } from './digest.js';
import { boolean, map, MalformedError, text } from './fields.js';
import { isMap, toValue, type ValueMap } from './value.js';

/** What an event of some type does to a collection. */
export interface Operation {
  readonly collection: string;
  readonly action: 'add' | 'remove';
  /** The name in `event_data` under which the entry's key is found (STATE-5). */
  readonly key: string;
}

/** Collections and operations of one deployment. Never changes. */
export class Schema {
  readonly #operations: ReadonlyMap<string, Operation>;

  private constructor(
    /** 64 hex digits. */
    readonly hash: string,
    /** The map of SCHEMA-2. */
    readonly map: ValueMap,
    /** Names of the collections. */
    readonly collections: readonly string[],
    operations: ReadonlyMap<string, Operation>,
  ) {
    this.#operations = operations;
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
    const collections = map(schema, 'collections');
    return new Schema(valueHash(schema), schema, Object.keys(collections), readOperations(collections));
  }

  /** What an event type does; undefined: it touches no state (STATE-1). */
  operation(eventType: string): Operation | undefined {
    return this.#operations.get(eventType);
  }
}

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

function readOperations(collections: ValueMap): Map<string, Operation> {
  const operations = new Map<string, Operation>();
  for (const collection of Object.keys(collections)) {
    const spec = map(collections, collection);
    expectKind(collection, spec);
    for (const action of ['add', 'remove'] as const) {
      operations.set(text(spec, action), { collection, action, key: text(spec, 'key') });
    }
  }
  return operations;
}

/** A collection of a kind that this client cannot apply would make it disagree silently. */
function expectKind(collection: string, spec: ValueMap): void {
  const rule = `${text(spec, 'kind')} with ${text(spec, 'conflict')}`;
  if (rule !== 'set with last_write_wins') {
    throw new MalformedError(`this client is too old for collection ${collection} (${rule})`);
  }
}
