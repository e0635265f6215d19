import type { Syncline, SynclineEvents } from '../../src/index.js';
import type { Kind } from './library.js';
import { Lines } from './lines.js';
import { Music } from './music.js';
import { Room } from './room.js';
import { starChange, Stars } from './stars.js';
import { ConnectionView } from './view/connection.js';
import { deviceLabel, DevicesView } from './view/devices.js';
import { listenToExtras } from './view/extras.js';
import { LibraryView, shown } from './view/library.js';
import { LogView } from './view/log.js';
import { listenToNotes } from './view/note.js';
import type { Notices } from './view/notices.js';
import { RoomView } from './view/room.js';
import { listenToStars } from './view/star.js';
import { touch } from './view/touch.js';

/** Joins the views to the streams: what the SDK tells goes to the view that shows it, presses go back. */
export function startApp(sync: Syncline, openRoom: () => Promise<Syncline>, notices: Notices): void {
  new App(sync, openRoom, notices).start();
}

class App {
  readonly #sync: Syncline;
  readonly #openRoom: () => Promise<Syncline>;
  readonly #notices: Notices;
  readonly #stars: Stars;
  readonly #music: Music;
  readonly #lines: Lines;
  readonly #connection: ConnectionView;
  readonly #devices = new DevicesView();
  readonly #log = new LogView();
  readonly #library: LibraryView;
  readonly #roomView: RoomView;
  /** The room's stream is opened when somebody first wants it. */
  #room: Promise<Room> | undefined;

  constructor(sync: Syncline, openRoom: () => Promise<Syncline>, notices: Notices) {
    this.#sync = sync;
    this.#openRoom = openRoom;
    this.#notices = notices;
    this.#stars = new Stars(sync);
    this.#music = new Music(sync);
    this.#lines = new Lines(sync);
    this.#connection = new ConnectionView(this.#lines);
    const notes = {
      music: this.#music,
      who: (uuid: string) => this.#who(sync, uuid),
      write: (albumId: string, text: string) => this.#try(() => this.#music.write(albumId, text)),
    };
    this.#library = new LibraryView(this.#stars, notes, () => this.#try(() => this.#enterRoom()));
    listenToNotes(document.body, notes.write);
    this.#roomView = new RoomView({
      move: (id, by) => this.#inRoom((room) => room.move(id, by)),
      take: (id) => this.#inRoom((room) => room.take(id)),
      next: ({ id, trackId }) =>
        this.#inRoom((room) => Promise.all([room.take(id), this.#music.play(trackId)])),
    });
  }

  start(): void {
    const [sync, music] = [this.#sync, this.#music];
    listenToStars(document.body, (kind: Kind, id) => this.#try(() => this.#stars.toggle(kind, id)));
    listenToExtras(document.body, {
      rate: (id, rating) => this.#try(() => music.rate(id, rating)),
      play: (id) => this.#try(() => music.play(id)),
      queue: (id) => this.#inRoom((room) => room.add(id)),
    });
    this.#listen(sync);
    sync.addEventListener('presence', () => this.#devices.show(sync.devices()));
    sync.addEventListener('change', ({ detail }) => {
      if (detail.collections.some((name) => shown.has(name))) this.#library.show();
    });
    this.#library.show();
    this.#connection.show();
    this.#devices.show(sync.devices());
  }

  /** What is told alike of every stream. */
  #listen(sync: Syncline): void {
    sync.addEventListener('status', () => this.#connection.show());
    sync.addEventListener('setaside', ({ detail }) => this.#notices.setAside(detail));
    sync.addEventListener('event', ({ detail }) => this.#onEvent(sync, detail));
  }

  #onEvent(sync: Syncline, { event, own }: SynclineEvents['event']): void {
    const who = this.#who(sync, event.deviceUuid);
    this.#log.add({ event, own, who });
    const change = own ? null : starChange(event);
    if (change) touch(document.body, change, who);
  }

  #who(sync: Syncline, deviceUuid: string): string {
    return deviceUuid === sync.deviceUuid ? 'this window' : deviceLabel(sync.devices(), deviceUuid);
  }

  #enterRoom(): Promise<Room> {
    this.#room ??= this.#joinRoom().catch((problem: unknown) => {
      this.#room = undefined;
      throw problem;
    });
    return this.#room;
  }

  async #joinRoom(): Promise<Room> {
    const sync = await this.#openRoom();
    const room = new Room(sync);
    this.#lines.add(sync);
    this.#listen(sync);
    const show = (): void => this.#roomView.show(room);
    sync.addEventListener('presence', show);
    sync.addEventListener('change', show);
    show();
    this.#connection.show();
    return room;
  }

  #inRoom(act: (room: Room) => Promise<unknown>): void {
    this.#try(async () => act(await this.#enterRoom()));
  }

  #try(act: () => Promise<unknown>): void {
    act().catch((problem: unknown) => {
      const reason = problem instanceof Error ? problem.message : String(problem);
      this.#notices.tell(`This change could not be kept: ${reason}`);
    });
  }
}
