/** Which sync group this window is in, and where its broker is: both from the address bar. */

/** TOPIC-1 of protocol/SPEC.md. */
const SYNC_ID = /^[A-Za-z0-9._-]{1,64}$/;

export interface Group {
  readonly syncId: string;
  /** The address that brings another window into this group. */
  readonly link: string;
  /** The page that shows two windows of this group side by side. */
  readonly split: string;
  /** What the address bar asked for, if it cannot be a group. */
  readonly rejected: string | null;
}

/** Reads `?sync=`; mints a group where there is none and puts it into the address bar. */
export function joinGroup(): Group {
  const address = new URL(location.href);
  const asked = address.searchParams.get('sync');
  const valid = asked !== null && SYNC_ID.test(asked);
  const syncId = valid ? asked : mint();
  address.searchParams.set('sync', syncId);
  address.hash = '';
  if (!valid) history.replaceState(null, '', address);
  for (const own of ['name', 'framed']) address.searchParams.delete(own);
  const split = new URL(`split.html?sync=${syncId}`, address).href;
  return { syncId, link: address.href.replace(/split\.html/, ''), split, rejected: valid ? null : asked };
}

/** `?tabs=one`: all tabs of this browser are one device. */
export function deviceScope(): 'tab' | 'browser' {
  return new URL(location.href).searchParams.get('tabs') === 'one' ? 'browser' : 'tab';
}

/** The broker serves MQTT over WebSocket beside this page. */
export function brokerUrl(): string {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  return `${scheme}://${location.host}/mqtt`;
}

/** A short id that can be read aloud. `crypto.randomUUID` does not exist on plain http in a LAN. */
function mint(): string {
  const letters = 'abcdefghjkmnpqrstuvwxyz23456789';
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  const id = Array.from(bytes, (byte) => letters[byte % letters.length]).join('');
  return `${id.slice(0, 5)}-${id.slice(5)}`;
}
