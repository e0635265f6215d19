import { openSyncline } from '../../src/index.js';
import { startApp } from './app.js';
import { deviceName } from './devicename.js';
import { brokerUrl, joinGroup } from './group.js';
import { decorateHero } from './view/hero.js';
import { listenerName, ROOM_CHANNEL } from './room.js';
import { Notices } from './view/notices.js';
import { managePanel } from './view/panel.js';
import { showSharing } from './view/sharing.js';
import { followTheme } from './view/theme.js';

followTheme();
managePanel();
decorateHero();
const notices = new Notices();
const group = joinGroup();
showSharing(group, notices);
if (group.rejected !== null)
  notices.tell(`“${group.rejected.slice(0, 64)}” cannot name a group. This is a new one.`);

try {
  const [name, shared] = [deviceName(), { url: brokerUrl(), syncId: group.syncId }];
  const openRoom = (): ReturnType<typeof openSyncline> =>
    openSyncline({ ...shared, channel: ROOM_CHANNEL, name: listenerName(name) });
  startApp(await openSyncline({ ...shared, name }), openRoom, notices);
} catch (problem) {
  notices.tell(
    `The shelf could not be opened: ${problem instanceof Error ? problem.message : String(problem)}`,
  );
}
