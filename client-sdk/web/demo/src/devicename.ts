/** A name for this window that the other devices can show. `?name=` overrules it. */

const first = [
  'Amber',
  'Brisk',
  'Copper',
  'Dusky',
  'Early',
  'Fabled',
  'Gentle',
  'Hazel',
  'Ivory',
  'Jolly',
  'Lucid',
  'Mellow',
  'Nimble',
  'Ochre',
  'Quiet',
  'Ruby',
  'Sunny',
  'Velvet',
];
const second = [
  'Badger',
  'Curlew',
  'Dormouse',
  'Egret',
  'Finch',
  'Gecko',
  'Heron',
  'Ibex',
  'Jackdaw',
  'Kestrel',
  'Lynx',
  'Marten',
  'Newt',
  'Otter',
  'Plover',
  'Robin',
  'Stoat',
  'Wren',
];

const KEY = 'syncline-demo-name';

export const NAME_CHARACTERS_MAX = 40;

/** The same name until the tab closes, or until it gets another one. */
export function deviceName(): string {
  const asked = tidy(new URL(location.href).searchParams.get('name') ?? '');
  if (asked) return asked;
  const kept = remembered();
  if (kept) return kept;
  const name = invent();
  remember(name);
  return name;
}

/** Gives this window another name, for as long as the tab lives; an empty one changes nothing. Returns the name that holds. */
export function rename(wanted: string): string {
  const name = tidy(wanted);
  if (name === '') return deviceName();
  const address = new URL(location.href);
  if (address.searchParams.has('name')) {
    // The address overrules what is remembered.
    address.searchParams.set('name', name);
    history.replaceState(null, '', address);
  }
  remember(name);
  return name;
}

function tidy(name: string): string {
  return [...name.trim()].slice(0, NAME_CHARACTERS_MAX).join('').trim();
}

function invent(): string {
  const [a = 0, b = 0] = crypto.getRandomValues(new Uint8Array(2));
  return `${first[a % first.length]} ${second[b % second.length]}`;
}

/** Storage may be forbidden; then the name lives as long as the page. */
function remembered(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function remember(name: string): void {
  try {
    sessionStorage.setItem(KEY, name);
  } catch {
    return;
  }
}
