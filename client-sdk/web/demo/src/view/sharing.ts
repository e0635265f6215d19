import { byId } from '../dom.js';
import type { Group } from '../group.js';
import type { Notices } from './notices.js';

/** The link to this group: to open, to copy, to read. */
export function showSharing(group: Group, notices: Notices): void {
  const field = byId('link', HTMLInputElement);
  field.value = group.link;
  field.addEventListener('focus', () => field.select());
  byId('second', HTMLAnchorElement).href = group.link;
  byId('split', HTMLAnchorElement).href = group.split;
  byId('copy', HTMLButtonElement).addEventListener('click', () => {
    void copy(group.link, field).then((done) => {
      notices.tell(
        done
          ? 'Link copied. Open it in a second window.'
          : 'Copying is not allowed here. The link is marked in the panel.',
      );
    });
  });
}

/** The clipboard API needs https or localhost; elsewhere the old command still works. */
async function copy(text: string, field: HTMLInputElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByCommand(field);
  }
}

function copyByCommand(field: HTMLInputElement): boolean {
  const before = document.activeElement;
  field.focus();
  field.select();
  const done = document.execCommand('copy');
  if (done && before instanceof HTMLElement) before.focus();
  return done;
}
