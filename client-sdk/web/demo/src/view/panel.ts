import { byId } from '../dom.js';

/** The side panel: beside the shelf where there is room, else a drawer that the pill opens. */
export function managePanel(): void {
  const panel = byId('panel', HTMLElement);
  const pill = byId('pill', HTMLButtonElement);
  const wide = matchMedia('(min-width: 68rem)');
  const show = (open: boolean): void => {
    panel.hidden = !open;
    pill.setAttribute('aria-expanded', String(open));
  };
  pill.addEventListener('click', () => {
    show(panel.hidden !== false);
    if (!wide.matches && !panel.hidden) byId('offline', HTMLButtonElement).focus();
  });
  const leave = (): void => {
    show(false);
    pill.focus();
  };
  byId('panel-close', HTMLButtonElement).addEventListener('click', leave);
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !wide.matches && !panel.hidden) leave();
  });
  document.addEventListener('pointerdown', (event) => {
    const outside =
      event.target instanceof Node && !panel.contains(event.target) && !pill.contains(event.target);
    if (outside && !wide.matches) show(false);
  });
  wide.addEventListener('change', () => show(wide.matches));
  show(wide.matches);
}
