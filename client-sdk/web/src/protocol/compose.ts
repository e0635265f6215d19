/** The event that says what shall be done to an entry: the inverse of {@link Schema.operation}. */
import type { CollectionSchema, Kind, Operation, Schema } from './schema.js';
import { isReservedKey, type Value, type ValueMap } from './value.js';

/** What a PUBLISH of the event needs. */
export interface Composed {
  readonly eventType: string;
  readonly eventData: ValueMap;
}

/** The schema has no event for that. */
export class CannotSayError extends Error {
  override readonly name = 'CannotSayError';
}

/** Throws a {@link CannotSayError} that names what the schema lacks. */
export function compose(schema: Schema, { collection, key, action }: Operation): Composed {
  const definition = schema.collection(collection);
  if (definition === undefined) throw cannot(`the schema has no collection ${JSON.stringify(collection)}`);
  if (isReservedKey(key)) throw cannot(`${JSON.stringify(key)} cannot be a key`);
  const words = new Words(collection, definition);
  const eventType = action.type === 'remove' ? definition.remove : definition.add;
  if (eventType === undefined) throw words.cannot('remove');
  return { eventType, eventData: { ...words.of(action), [definition.key]: key } };
}

const CAN: Readonly<Record<Kind, readonly string[]>> = {
  set: ['put', 'remove'],
  map: ['put', 'remove'],
  counter: ['count'],
  list: ['place', 'remove'],
};

class Words {
  constructor(
    private readonly collection: string,
    private readonly definition: CollectionSchema,
  ) {}

  /** `event_data` without the key. */
  of(action: Operation['action']): ValueMap {
    if (!CAN[this.definition.kind].includes(action.type)) throw this.cannot(action.type);
    switch (action.type) {
      case 'remove':
        return {};
      case 'put':
        return this.#value(action.value);
      case 'count':
        return this.#amount(action.amount);
      case 'place':
        return { ...this.#value(action.value), ...this.#list(action.list), ...this.#after(action.after) };
    }
  }

  cannot(what: string): CannotSayError {
    return cannot(`${this.collection} is a ${this.definition.kind}, which cannot ${what}`);
  }

  #value(value: Value): ValueMap {
    const { value: name } = this.definition;
    if (name !== undefined) return { [name]: value };
    if (value !== true) throw this.#noName('value', 'what is in it is true');
    return {};
  }

  #amount(amount: number): ValueMap {
    const { amount: name } = this.definition;
    if (!Number.isSafeInteger(amount)) throw cannot(`${this.collection} counts integers up to 2^53 - 1`);
    if (name !== undefined) return { [name]: amount };
    if (amount !== 1) throw this.#noName('amount', 'it counts by one');
    return {};
  }

  #list(list: string | null): ValueMap {
    const { list: name } = this.definition;
    if (name !== undefined && list !== null) return { [name]: list };
    if (name !== undefined) throw cannot(`${this.collection} has several lists: say which one`);
    if (list !== null) throw this.#noName('list', 'it is one list');
    return {};
  }

  /** undefined: behind all; null: before all. */
  #after(after: string | null | undefined): ValueMap {
    const { after: name } = this.definition;
    if (after === undefined) return {};
    if (name === undefined) throw this.#noName('after', 'items go to its end');
    return { [name]: after };
  }

  #noName(name: string, so: string): CannotSayError {
    return cannot(`the schema of ${this.collection} names no ${name}: ${so}`);
  }
}

function cannot(reason: string): CannotSayError {
  return new CannotSayError(reason);
}
