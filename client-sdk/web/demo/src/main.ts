import { openSyncline } from '../../src/index.js';
import { startApp } from './app.js';
import { deviceName, rename } from './devicename.js';
import { brokerUrl, deviceScope, joinGroup } from './group.js';
import { decorateHero } from './view/hero.js';
import { listenerName, ROOM_CHANNEL } from './room.js';
import { PastReader } from './past.js';
import { Notices } from './view/notices.js';
import { managePanel } from './view/panel.js';
import { showSharing } from './view/sharing.js';
import { followTheme } from './view/theme.js';

if (new URL(location.href).searchParams.has('framed')) document.documentElement.dataset['framed'] = '';
followTheme();
managePanel();
decorateHero();
const notices = new Notices();
const group = joinGroup();
showSharing(group, notices);
if (group.rejected !== null)
  notices.tell(`“${group.rejected.slice(0, 64)}” cannot name a group. This is a new one.`);

try {
  let name = deviceName();
  const stream = { url: brokerUrl(), syncId: group.syncId };
  const scope = { deviceScope: deviceScope() };
  const openRoom = (): ReturnType<typeof openSyncline> =>
    openSyncline({ ...stream, ...scope, channel: ROOM_CHANNEL, name: () => listenerName(name) });
  startApp({
    sync: await openSyncline({ ...stream, ...scope, name: () => name }),
    openRoom,
    past: new PastReader(stream),
    naming: { name, rename: (wanted) => (name = rename(wanted)) },
    notices,
  });
} catch (problem) {
  notices.tell(
    `The shelf could not be opened: ${problem instanceof Error ? problem.message : String(problem)}`,
  );
}
