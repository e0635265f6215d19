/** Changes that are said by what shall be: which event makes them is the schema's word. Beside the client, for apps that want them. */
import { RefusedError, type Choice, type Receipt, type Syncline } from './api.js';
import { CannotSayError, compose } from './protocol/compose.js';
import type { Action } from './protocol/schema.js';

/** What reads and changes: a client, or what remembers the changes that are made through it (`undoable`). */
export type Changes = Pick<Syncline, 'schema' | 'publish' | 'has' | 'value' | 'entries' | 'list'>;

/**
 * Makes a change of an entry by the event that the schema has for it; `setOf`, `mapOf`, `counterOf` and `listOf` say it more
 * briefly. Rejects as `publish` does, and with a {@link RefusedError} `cannot_say` if the schema has no such event, or
 * `no_schema` before the first connection.
 */
export function act(sync: Changes, collection: string, key: string, action: Action): Promise<Receipt> {
  return say(sync, { collection, key, action }, 'cannot_say');
}

/**
 * Settles a conflict: publishes one of its open values, another value, or (`undefined`) that the entry is removed. Whoever sees
 * all values of a conflict replaces them all (STATE-8). Rejects as {@link act} does, and with a {@link RefusedError}
 * `cannot_settle` where there can be no conflict or the schema has no event for that.
 */
export async function settle(
  sync: Changes,
  collection: string,
  key: string,
  choice: Choice,
): Promise<Receipt> {
  const { conflict } = sync.schema?.collection(collection) ?? {};
  if (conflict !== undefined && conflict !== 'keep_both')
    throw cannotSettle(`${collection} is not keep_both, so it has no conflicts: publish what shall be`);
  // A choice without the name would remove by mistake.
  if (!('value' in choice))
    throw cannotSettle('the choice has no value: say { value: undefined } to remove the entry');
  const { value } = choice;
  const action: Action = value === undefined ? { type: 'remove' } : { type: 'put', value };
  return say(sync, { collection, key, action }, 'cannot_settle');
}

async function say(
  sync: Changes,
  operation: Parameters<typeof compose>[1],
  refusal: string,
): Promise<Receipt> {
  if (sync.schema === undefined) throw new RefusedError('no_schema', 'no schema is known yet: connect once');
  try {
    const { eventType, eventData } = compose(sync.schema, operation);
    return await sync.publish(eventType, eventData);
  } catch (error) {
    throw error instanceof CannotSayError ? new RefusedError(refusal, error.message) : error;
  }
}

function cannotSettle(reason: string): RefusedError {
  return new RefusedError('cannot_settle', reason);
}
