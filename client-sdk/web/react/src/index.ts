/**
 * React hooks over an open client. Each gives what the client has at hand, own unconfirmed changes included, and renders again
 * when that changes, not before: the client hands out the same object until then.
 */
import {
  type Conflict,
  type DevicePresence,
  type Entry,
  type PendingEvent,
  type SetAside,
  type Status,
  type Syncline,
  type Undoable,
} from '@syncline/client';
import {
  createContext,
  createElement,
  useCallback,
  useContext,
  useSyncExternalStore,
  type ReactElement,
  type ReactNode,
} from 'react';

const Context = createContext<Syncline | null>(null);

export interface SynclineProviderProps {
  /** What `openSyncline` gave. Who opened it closes it. */
  readonly client: Syncline;
  readonly children?: ReactNode;
}

/** Lends a client to the hooks below. Another `client` later is fine. */
export function SynclineProvider({ client, children }: SynclineProviderProps): ReactElement {
  return createElement(Context.Provider, { value: client }, children);
}

/** The client itself, for changes. Throws outside of a {@link SynclineProvider}. */
export function useSyncline(): Syncline {
  const client = useContext(Context);
  if (client === null)
    throw new Error(
      'there is no Syncline client here: put <SynclineProvider client={…}> around this component',
    );
  return client;
}

/** The live entries of a collection, ascending by the UTF-8 bytes of their keys. */
export function useEntries(collection: string): readonly Entry[] {
  return useReading((client) => client.entries(collection));
}

/** One live entry; undefined: there is none under this key. */
export function useEntry(collection: string, key: string): Entry | undefined {
  return useReading((client) => client.entries(collection).find((entry) => entry.key === key));
}

/** The items of a list in their order; `list`: which one, where the collection has several. */
export function useList(collection: string, list?: string): readonly Entry[] {
  return useReading((client) => client.list(collection, list));
}

/** The open conflicts of a `keep_both` collection. `useSyncline().settle` ends one. */
export function useConflicts(collection: string): readonly Conflict[] {
  return useReading((client) => client.conflicts(collection));
}

/** Whether everything is saved, and if not, why. */
export function useStatus(): Status {
  return useReading((client) => client.status);
}

/** The changes that the broker has not confirmed, in the order in which they go out. */
export function usePending(): readonly PendingEvent[] {
  return useReading((client) => client.pendingEvents());
}

/** The devices of the group; none are known while offline. */
export function useDevices(): readonly DevicePresence[] {
  return useReading((client) => client.devices());
}

/** The changes that were refused for ever, oldest first. */
export function useSetAside(): readonly SetAside[] {
  return useReading((client) => client.setAside());
}

/** How many steps there are to take back and to do again. */
export function useUndoSteps(undoable: Undoable): Undoable['steps'] {
  const subscribe = useCallback((listener: () => void) => undoable.subscribe(listener), [undoable]);
  const read = (): Undoable['steps'] => undoable.steps;
  return useSyncExternalStore(subscribe, read, read);
}

/** On a server the same is read once. */
function useReading<T>(of: (client: Syncline) => T): T {
  const client = useSyncline();
  const subscribe = useCallback((listener: () => void) => client.subscribe(listener), [client]);
  const read = (): T => of(client);
  return useSyncExternalStore(subscribe, read, read);
}
