import { settle, undoable, type Syncline, type SynclineEvents, type Undoable } from '../../src/index.js';
import { Lens } from './lens.js';
import type { Kind } from './library.js';
import { Lines } from './lines.js';
import { Music, type MusicWrites } from './music.js';
import type { PastReader } from './past.js';
import { Room } from './room.js';
import { starChange, Stars } from './stars.js';
import { ConnectionView } from './view/connection.js';
import { deviceLabel, DevicesView } from './view/devices.js';
import { listenToExtras } from './view/extras.js';
import { HistoryView } from './view/history.js';
import { LibraryView, shown } from './view/library.js';
import { LogView } from './view/log.js';
import { listenToNotes } from './view/note.js';
import type { Notices } from './view/notices.js';
import { PlaylistsView } from './view/playlists.js';
import { RoomView } from './view/room.js';
import { listenToStars } from './view/star.js';
import { touch } from './view/touch.js';
import { UndoView } from './view/undo.js';

/** What the app works with. */
export interface Parts {
  readonly sync: Syncline;
  readonly openRoom: () => Promise<Syncline>;
  readonly past: PastReader;
  /** What this window is called, and how it gets another name. The next connection tells it. */
  readonly naming: { readonly name: string; rename(name: string): string };
  readonly notices: Notices;
}

/** Joins the views to the streams: what the SDK tells goes to the view that shows it, presses go back. */
export function startApp(parts: Parts): void {
  new App(parts).start();
}

class App {
  readonly #sync: Syncline;
  readonly #openRoom: () => Promise<Syncline>;
  readonly #notices: Notices;
  readonly #lens: Lens;
  /** Changes of the library go through this, so that they can be taken back. */
  readonly #undoable: Undoable;
  readonly #stars: Stars;
  readonly #music: Music;
  readonly #lines: Lines;
  readonly #connection: ConnectionView;
  readonly #devices: DevicesView;
  readonly #log = new LogView();
  readonly #library: LibraryView;
  readonly #playlists: PlaylistsView;
  readonly #history: HistoryView;
  readonly #roomView: RoomView;
  /** The room's stream is opened when somebody first wants it. */
  #room: Promise<Room> | undefined;

  constructor({ sync, openRoom, past, naming, notices }: Parts) {
    this.#sync = sync;
    this.#openRoom = openRoom;
    this.#notices = notices;
    this.#lens = new Lens(sync);
    this.#undoable = undoable(sync);
    this.#stars = new Stars(this.#lens, this.#undoable);
    this.#music = new Music(this.#lens, this.#writes());
    this.#lines = new Lines(sync);
    this.#connection = new ConnectionView(this.#lines);
    this.#devices = new DevicesView(naming.name, (name) => this.#rename(naming.rename(name)));
    this.#library = this.#newLibrary();
    this.#playlists = new PlaylistsView({
      read: this.#lens,
      write: this.#undoable,
      act: (change) => this.#change(change),
    });
    this.#history = this.#newHistory(past);
    this.#roomView = this.#newRoomView();
  }

  start(): void {
    const [sync, music] = [this.#sync, this.#music];
    listenToStars(document.body, (kind: Kind, id) => this.#change(() => this.#stars.toggle(kind, id)));
    listenToExtras(document.body, {
      rate: (id, rating) => this.#change(() => music.rate(id, rating)),
      play: (id) => this.#change(() => music.play(id)),
      queue: (id) => this.#inRoom((room) => room.queue.add(id)),
      put: (playlist, id) => this.#playlists.add(playlist, id),
    });
    new UndoView(
      this.#undoable,
      (change) => this.#change(change),
      (text) => this.#notices.tell(text),
    );
    this.#listen(sync);
    sync.addEventListener('presence', () => this.#devices.show(sync.devices()));
    sync.addEventListener('change', ({ detail }) => {
      if (!this.#lens.isPast && detail.collections.some((name) => shown.has(name))) this.#show();
    });
    this.#show();
    this.#connection.show();
    this.#devices.show(sync.devices());
  }

  #show(): void {
    this.#library.show();
    this.#playlists.show();
  }

  /** What the notes are changed by. A conflict that was settled is not opened again by undo. */
  #writes(): MusicWrites {
    return {
      publish: (type, data) => this.#undoable.publish(type, data),
      settle: (collection, key, choice) => settle(this.#sync, collection, key, choice),
    };
  }

  #newLibrary(): LibraryView {
    const music = this.#music;
    const notes = {
      music,
      who: (uuid: string) => this.#who(this.#sync, uuid),
      write: (albumId: string, text: string) => this.#change(() => music.write(albumId, text)),
      settle: (albumId: string, text: string) =>
        this.#change(() => music.settle(albumId, { value: text === '' ? undefined : text })),
    };
    listenToNotes(document.body, notes.write);
    return new LibraryView(this.#stars, notes, () => this.#try(() => this.#enterRoom()));
  }

  #newHistory(past: PastReader): HistoryView {
    return new HistoryView({
      lens: this.#lens,
      past,
      head: () => this.#sync.seq,
      isOnline: () => ['saved', 'saving'].includes(this.#sync.status.state),
      who: (uuid) => this.#who(this.#sync, uuid),
      moved: () => this.#show(),
      tell: (text) => this.#notices.tell(text),
    });
  }

  #newRoomView(): RoomView {
    return new RoomView({
      place: (id, after) => this.#inRoom((room) => room.queue.place(id, after)),
      take: (id) => this.#inRoom((room) => room.queue.take(id)),
      next: ({ id, trackId }) =>
        this.#inRoom((room) => Promise.all([room.queue.take(id), this.#music.play(trackId)])),
    });
  }

  /** The broker tells the others at the next connection, so a connection that stands is made again. */
  #rename(name: string): string {
    const { state } = this.#lines.status;
    if (state !== 'saved' && state !== 'saving') return name;
    this.#lines.setOnline(false);
    this.#lines.setOnline(true);
    return name;
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
    if (sync === this.#sync) this.#history.push(event);
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
    const room = new Room(sync, sync);
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

  /** A change of the library, which is not made in the past. */
  #change(act: () => Promise<unknown>): void {
    if (!this.#lens.isPast) return this.#try(act);
    this.#notices.tell('This is how it was. Go back to now to change something.');
    this.#show();
  }

  #try(act: () => Promise<unknown>): void {
    act().catch((problem: unknown) => {
      const reason = problem instanceof Error ? problem.message : String(problem);
      this.#notices.tell(`This change could not be kept: ${reason}`);
    });
  }
}
