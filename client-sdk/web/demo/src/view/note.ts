import { h } from '../dom.js';
import type { Album } from '../library.js';
import type { Music } from '../music.js';
import { hourOf } from './devices.js';

const NOTE_CHARACTERS_MAX = 2000;

/** What the notes need to be shown: the notes, who a device is, and what to do with a new one. */
export interface NoteContext {
  readonly music: Music;
  /** What to call a device. */
  who(deviceUuid: string): string;
  write(albumId: string, text: string): void;
  /** Ends an open conflict; an empty text: without a note. */
  settle(albumId: string, text: string): void;
}

/** A note on an album that all windows share. Two written at once are both kept until somebody settles them. */
export function note(album: Album): HTMLElement {
  const id = `note-${album.id}`;
  const field = h('textarea', {
    id,
    rows: 2,
    maxlength: NOTE_CHARACTERS_MAX,
    placeholder: 'A line about this record, for everyone',
  });
  const save = h('button', { type: 'button', class: 'quiet save' }, 'Save the note');
  const state = h('span', { class: 'state', role: 'status' });
  const open = h('div', { class: 'open', role: 'group', 'aria-label': 'Notes written at the same time' });
  open.hidden = true;
  return h(
    'section',
    { class: 'note', 'data-album': album.id },
    h('label', { for: id }, 'Note'),
    open,
    field,
    h('p', {}, save, state),
  );
}

/** Saves the note whose button is pressed below `root`. */
export function listenToNotes(root: HTMLElement, write: NoteContext['write']): void {
  root.addEventListener('click', ({ target }) => {
    const section =
      target instanceof Element && target.matches('.save') ? target.closest<HTMLElement>('.note') : null;
    const field = section?.querySelector('textarea');
    if (section && field) write(section.dataset['album'] ?? '', field.value.trim());
  });
}

/** Brings the notes below `root` up to date; what somebody is typing stays. */
export function showNotes(root: HTMLElement, context: NoteContext): void {
  const open = context.music.openAlbums();
  for (const sign of root.querySelectorAll<HTMLElement>('.clash'))
    sign.hidden = !open.has(sign.dataset['album'] ?? '');
  const pending = context.music.pending('notes');
  for (const section of root.querySelectorAll<HTMLElement>('.note')) {
    const albumId = section.dataset['album'] ?? '';
    showText(section, context.music.note(albumId));
    showOpen(section, albumId, context);
    section.toggleAttribute('data-pending', pending.has(albumId));
    section.querySelector('.state')?.replaceChildren(pending.has(albumId) ? 'Kept here, on its way' : '');
  }
}

function showText(section: HTMLElement, text: string): void {
  const field = section.querySelector('textarea');
  if (!field) return;
  const isTyped = field.value !== (section.dataset['text'] ?? '');
  section.dataset['text'] = text;
  if (!isTyped || field.value.trim() === text) field.value = text;
}

/** The open conflict, if there is one: each note with its author, to keep or to let go. */
function showOpen(section: HTMLElement, albumId: string, context: NoteContext): void {
  const open = section.querySelector<HTMLElement>('.open');
  const values = context.music.openNotes(albumId);
  if (!open) return;
  open.hidden = values.length === 0;
  if (open.hidden) return open.replaceChildren();
  const choices = values.map(({ value, deviceUuid, timestamp }) => {
    const text = typeof value === 'string' ? value : '';
    const by = `${context.who(deviceUuid)}, ${hourOf(timestamp)}`;
    return choice(text, by, () => settle(section, albumId, text, context));
  });
  const title = h(
    'p',
    { class: 'title' },
    'Written at the same time, and nothing is lost. Which one shall stay?',
  );
  const texts = values.flatMap(({ value }) => (typeof value === 'string' && value !== '' ? [value] : []));
  const both = h('button', { type: 'button', class: 'quiet both' }, 'Keep them all, one below the other');
  both.addEventListener('click', () => settle(section, albumId, texts.join('\n'), context));
  open.replaceChildren(title, h('ul', {}, ...choices), ...(texts.length > 1 ? [both] : []));
}

function choice(text: string, by: string, keep: () => void): HTMLLIElement {
  const shown = text === '' ? h('em', {}, 'No note') : h('q', {}, text);
  const button = h(
    'button',
    { type: 'button', class: 'quiet keep', 'aria-label': `Keep the note of ${by}` },
    'Keep',
  );
  button.addEventListener('click', keep);
  return h('li', {}, h('span', { class: 'by' }, by), shown, button);
}

/** What is kept replaces also what somebody has begun to type here. */
function settle(section: HTMLElement, albumId: string, text: string, context: NoteContext): void {
  const field = section.querySelector('textarea');
  if (field) field.value = text;
  context.settle(albumId, text);
  field?.focus();
}
