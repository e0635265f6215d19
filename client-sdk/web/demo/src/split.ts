import { h, byId } from './dom.js';
import { joinGroup } from './group.js';
import { followTheme } from './view/theme.js';

/** Two devices of one group on one page: each is the whole demo in a frame, with a device, an outbox and a line of its own. */
const names = ['Kitchen tablet', 'Pocket phone'] as const;

followTheme();
const { link } = joinGroup();
byId('one', HTMLAnchorElement).href = link;
byId('devices', HTMLElement).append(...names.map(device));

function device(name: string): HTMLElement {
  const address = new URL(link);
  address.searchParams.set('name', name);
  address.searchParams.set('framed', '');
  return h('figure', {}, h('figcaption', {}, name), h('iframe', { title: name, src: address.href }));
}
