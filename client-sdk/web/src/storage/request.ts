/** What IndexedDB tells by events, as promises. */

/** The result of one request. */
export function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Resolves once a transaction is through, with why it is not, if it is not. */
export function ended(transaction: IDBTransaction): Promise<DOMException | undefined> {
  return new Promise((resolve) => {
    const failed = (): void =>
      resolve(transaction.error ?? new DOMException('the transaction was aborted', 'AbortError'));
    transaction.oncomplete = () => resolve(undefined);
    transaction.onabort = failed;
  });
}
