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

/** The same name until the tab closes. */
export function deviceName(): string {
  const asked = new URL(location.href).searchParams.get('name')?.trim().slice(0, 40);
  if (asked) return asked;
  const kept = remembered();
  if (kept) return kept;
  const name = invent();
  remember(name);
  return name;
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
