import type { DevicePresence } from '../../../src/index.js';
import { byId, h } from '../dom.js';
import { isListener, plainName } from '../room.js';

/** The devices of the group, this one first, then those online. Who is in the room is told there. This window's name can be changed. */
export class DevicesView {
  readonly #list = byId('devices', HTMLElement);
  readonly #count = byId('device-count', HTMLElement);
  readonly #name = byId('own-name', HTMLInputElement);

  /** `rename` gives this window another name, and says which one holds. */
  constructor(name: string, rename: (name: string) => string) {
    this.#name.value = name;
    this.#name.addEventListener('change', () => (this.#name.value = rename(this.#name.value)));
  }

  show(devices: readonly DevicePresence[]): void {
    const sorted = devices.filter((device) => !isListener(device)).sort(byRank);
    this.#count.textContent = String(sorted.filter((device) => device.online).length);
    const rows =
      sorted.length > 0 ? sorted.map(deviceRow) : [h('li', { class: 'hint' }, 'Known while connected.')];
    this.#list.replaceChildren(...rows);
  }
}

/** What to call a device: its name, else the start of its UUID. */
export function deviceLabel(devices: readonly DevicePresence[], uuid: string): string {
  const name = devices.find((device) => device.deviceUuid === uuid)?.name?.trim();
  return name ? plainName(name).slice(0, 40) : uuid.slice(0, 8);
}

function deviceRow(device: DevicePresence): HTMLLIElement {
  const name = h(
    'span',
    { class: 'name', title: device.deviceUuid },
    deviceLabel([device], device.deviceUuid),
  );
  const state = device.online ? 'online' : 'offline';
  const note = device.own
    ? h('span', { class: 'badge' }, 'this window')
    : h('span', { class: 'hint' }, `${state} since ${hourOf(device.since)}`);
  return h(
    'li',
    { class: state, 'data-device': device.deviceUuid },
    h('span', { class: 'dot', 'aria-hidden': 'true' }),
    name,
    note,
  );
}

function byRank(a: DevicePresence, b: DevicePresence): number {
  return Number(b.own) - Number(a.own) || Number(b.online) - Number(a.online) || a.since - b.since;
}

export function hourOf(millis: number): string {
  return new Date(millis).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}
