import { RefusedError, type Undoable } from '../../../src/index.js';
import { byId } from '../dom.js';

/** The buttons that take back and do again, and their keys. */
export class UndoView {
  readonly #undoable: Undoable;
  readonly #act: (change: () => Promise<unknown>) => void;
  readonly #buttons = { undo: byId('undo', HTMLButtonElement), redo: byId('redo', HTMLButtonElement) };

  /** `act` makes a change; `tell` says why there was none. */
  constructor(
    undoable: Undoable,
    act: (change: () => Promise<unknown>) => void,
    tell: (text: string) => void,
  ) {
    this.#undoable = undoable;
    this.#act = (change) =>
      act(() =>
        change().catch((problem: unknown) => {
          if (!(problem instanceof RefusedError) || problem.refusal !== 'changed_since') throw problem;
          tell('Somebody has changed that since, so it stays as it is.');
        }),
      );
    for (const which of ['undo', 'redo'] as const)
      this.#buttons[which].addEventListener('click', () => this.#go(which));
    document.addEventListener('keydown', (event) => this.#key(event));
    undoable.subscribe(() => this.#show());
    this.#show();
  }

  /** Not disabled: that would take the keyboard's place away. */
  #show(): void {
    for (const which of ['undo', 'redo'] as const)
      this.#buttons[which].setAttribute('aria-disabled', String(this.#undoable.steps[which] === 0));
  }

  #go(which: 'undo' | 'redo'): void {
    if (this.#undoable.steps[which] > 0) this.#act(() => this.#undoable[which]());
  }

  /** Ctrl+Z and Ctrl+Shift+Z, or with ⌘; in a text they are the text's own. */
  #key(event: KeyboardEvent): void {
    if (event.key.toLowerCase() !== 'z' || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    if (event.target instanceof HTMLElement && event.target.matches('input:not([type="range"]), textarea'))
      return;
    event.preventDefault();
    this.#go(event.shiftKey ? 'redo' : 'undo');
  }
}
