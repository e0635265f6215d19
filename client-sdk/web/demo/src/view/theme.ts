import { byId } from '../dom.js';

const KEY = 'syncline-demo-theme';

type Theme = 'light' | 'dark';

/** Follows the system until the person chooses. */
export function followTheme(): void {
  const button = byId('theme', HTMLButtonElement);
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen = remembered();
  const show = (): void => {
    const theme = chosen ?? (system.matches ? 'dark' : 'light');
    document.documentElement.dataset['theme'] = theme;
    button.setAttribute('aria-label', `Switch to ${other(theme)} colours`);
  };
  button.addEventListener('click', () => {
    chosen = other(chosen ?? (system.matches ? 'dark' : 'light'));
    remember(chosen);
    show();
  });
  system.addEventListener('change', show);
  // Another window chose, or the page around this one.
  addEventListener('storage', ({ key }) => {
    if (key !== KEY) return;
    chosen = remembered();
    show();
  });
  show();
}

function other(theme: Theme): Theme {
  return theme === 'dark' ? 'light' : 'dark';
}

function remembered(): Theme | null {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === 'dark' || kept === 'light' ? kept : null;
  } catch {
    return null;
  }
}

/** Where storage is forbidden, the choice lasts as long as the page. */
function remember(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    return;
  }
}
