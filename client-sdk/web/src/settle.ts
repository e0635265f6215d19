/** The event that settles a conflict, by the schema (STATE-8). */
import { RefusedError, type Choice } from './api.js';
import { CannotSayError, compose, type Composed } from './protocol/compose.js';
import type { Action, Schema } from './protocol/schema.js';

/** What is to be published. Throws a `RefusedError` `cannot_settle`. */
export function settling(
  schema: Schema | undefined,
  collection: string,
  key: string,
  choice: Choice,
): Composed {
  if (schema === undefined) throw cannot('no schema is known yet: connect once');
  const { conflict } = schema.collection(collection) ?? {};
  if (conflict !== undefined && conflict !== 'keep_both')
    throw cannot(`${collection} is not keep_both, so it has no conflicts: publish what shall be`);
  // A choice without the name would remove by mistake.
  if (!('value' in choice))
    throw cannot('the choice has no value: say { value: undefined } to remove the entry');
  const { value } = choice;
  const action: Action = value === undefined ? { type: 'remove' } : { type: 'put', value };
  try {
    return compose(schema, { collection, key, action });
  } catch (error) {
    throw error instanceof CannotSayError ? cannot(error.message) : error;
  }
}

function cannot(reason: string): RefusedError {
  return new RefusedError('cannot_settle', reason);
}
