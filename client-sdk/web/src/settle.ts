/** The event that settles a conflict, by the schema (STATE-8). */
import { RefusedError, type Choice } from './api.js';
import type { CollectionSchema, Schema } from './protocol/schema.js';
import { isReservedKey, type Value } from './protocol/value.js';

/** What is to be published. Throws a `RefusedError` `cannot_settle`. */
export function settling(
  schema: Schema | undefined,
  collection: string,
  key: string,
  choice: Choice,
): { readonly eventType: string; readonly eventData: Value } {
  const definition = definitionOf(schema, collection);
  if (isReservedKey(key)) throw cannot(`${JSON.stringify(key)} cannot be a key`);
  // A choice without the name would remove by mistake.
  if (!('value' in choice))
    throw cannot('the choice has no value: say { value: undefined } to remove the entry');
  const { add, remove, value: name } = definition;
  if (choice.value === undefined) {
    if (remove === undefined) throw cannot(`the schema has no event that removes from ${collection}`);
    return { eventType: remove, eventData: { [definition.key]: key } };
  }
  if (name === undefined) throw cannot(`the schema has no name for a value of ${collection}`);
  return { eventType: add, eventData: { [name]: choice.value, [definition.key]: key } };
}

function definitionOf(schema: Schema | undefined, collection: string): CollectionSchema {
  if (schema === undefined) throw cannot('no schema is known yet: connect once');
  const definition = schema.collection(collection);
  if (definition === undefined) throw cannot(`the schema has no collection ${JSON.stringify(collection)}`);
  if (definition.conflict !== 'keep_both')
    throw cannot(`${collection} is not keep_both, so it has no conflicts: publish what shall be`);
  return definition;
}

function cannot(reason: string): RefusedError {
  return new RefusedError('cannot_settle', reason);
}
