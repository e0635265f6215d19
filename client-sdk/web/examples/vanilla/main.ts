/** Starred albums in every window of a group, without a framework. */
import { openSyncline, setOf } from '@syncline/client';

const find = (selector: string): HTMLElement =>
  document.querySelector<HTMLElement>(selector) ?? document.body;

const sync = await openSyncline({ url: 'ws://localhost:8080/mqtt', syncId: 'demo' });
const albums = setOf(sync, 'albums');

function show(): void {
  const { state, pending } = sync.status;
  find('#status').textContent = pending === 0 ? state : `${state}, ${pending} not saved yet`;
  find('#albums').replaceChildren(...albums.keys().map(row));
}

function row(album: string): HTMLLIElement {
  const item = document.createElement('li');
  const remove = document.createElement('button');
  remove.textContent = 'Unstar';
  remove.addEventListener('click', () => void albums.remove(album));
  item.append(album, ' ', remove);
  return item;
}

find('#star').addEventListener('submit', (event) => {
  event.preventDefault();
  const form = event.target as HTMLFormElement;
  void albums.add(String(new FormData(form).get('album')));
  form.reset();
});
sync.subscribe(show);
show();
