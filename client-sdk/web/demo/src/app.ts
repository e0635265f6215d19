import type { Syncline } from '../../src/index.js';
import type { Kind } from './library.js';
import { starChange, Stars } from './stars.js';
import { ConnectionView } from './view/connection.js';
import { deviceLabel, DevicesView } from './view/devices.js';
import { LibraryView, shown } from './view/library.js';
import { LogView } from './view/log.js';
import type { Notices } from './view/notices.js';
import { listenToStars } from './view/star.js';
import { touch } from './view/touch.js';

/** Joins the views to an opened stream: what the SDK tells goes to the view that shows it, presses go back. */
export function startApp(sync: Syncline, notices: Notices): void {
  const stars = new Stars(sync);
  const library = new LibraryView(stars);
  const connection = new ConnectionView(sync);
  const devices = new DevicesView();
  const log = new LogView();

  listenToStars(document.body, (kind, id) => void press(stars, notices, kind, id));
  sync.addEventListener('status', () => connection.show());
  sync.addEventListener('presence', () => devices.show(sync.devices()));
  sync.addEventListener('setaside', ({ detail }) => notices.setAside(detail));
  sync.addEventListener('change', ({ detail }) => {
    if (detail.collections.some((name) => shown.has(name))) library.show();
  });
  sync.addEventListener('event', ({ detail: { event, own } }) => {
    const who = deviceLabel(sync.devices(), event.deviceUuid);
    log.add({ event, own, who });
    const change = own ? null : starChange(event);
    if (change) touch(document.body, change, who);
  });

  library.show();
  connection.show();
  devices.show(sync.devices());
}

async function press(stars: Stars, notices: Notices, kind: Kind, id: string): Promise<void> {
  try {
    await stars.toggle(kind, id);
  } catch (problem) {
    notices.tell(
      `This change could not be kept: ${problem instanceof Error ? problem.message : String(problem)}`,
    );
  }
}
