/** Rows that are dragged by a handle, with mouse, pen or finger. Nothing moves in the document until the row is let go. */

export interface Dragging {
  /** The rows that change places, in their order. */
  rows(): readonly HTMLElement[];
  /** The row was let go behind this one; null: at the beginning. */
  drop(row: HTMLElement, after: HTMLElement | null): void;
  /** The drag is over, whether something was dropped or not. */
  end(): void;
}

interface Place {
  readonly row: HTMLElement;
  readonly middle: number;
}

/** Follows the pointer that has gone down on the handle of `row`. */
export function drag(press: PointerEvent, row: HTMLElement, dragging: Dragging): void {
  const handle = press.currentTarget;
  if (press.button !== 0 || !(handle instanceof HTMLElement)) return;
  press.preventDefault();
  handle.focus({ preventScroll: true });
  handle.setPointerCapture(press.pointerId);
  const rows = dragging.rows();
  const places = rows.map((one): Place => ({ row: one, middle: middleOf(one) }));
  const [from, startY] = [rows.indexOf(row), press.clientY + scrollY];
  const { height } = row.getBoundingClientRect();
  let to = from;
  row.classList.add('dragged');

  const move = ({ clientY }: PointerEvent): void => {
    const by = clientY + scrollY - startY;
    const middle = (places[from]?.middle ?? 0) + by;
    to = places.filter((place) => place.row !== row && place.middle < middle).length;
    for (const [at, place] of places.entries())
      shift(place.row, place.row === row ? by : aside(at, from, to) * height);
  };
  const finish = (event: Event): void => {
    stop.abort();
    row.classList.remove('dragged');
    for (const one of rows) shift(one, 0);
    const others = rows.filter((one) => one !== row);
    if (event.type === 'pointerup' && to !== from) dragging.drop(row, others[to - 1] ?? null);
    dragging.end();
  };
  const stop = new AbortController();
  const { signal } = stop;
  handle.addEventListener('pointermove', move, { signal });
  for (const end of ['pointerup', 'pointercancel', 'lostpointercapture'] as const)
    handle.addEventListener(end, finish, { signal });
  const leave = (event: KeyboardEvent): void => {
    if (event.key !== 'Escape') return;
    event.stopPropagation();
    finish(event);
  };
  document.addEventListener('keydown', leave, { signal, capture: true });
}

/** By how many rows the one at `at` makes room for what goes from `from` to `to`. */
function aside(at: number, from: number, to: number): -1 | 0 | 1 {
  if (at > from && at <= to) return -1;
  return at < from && at >= to ? 1 : 0;
}

function middleOf(row: HTMLElement): number {
  const { top, height } = row.getBoundingClientRect();
  return top + scrollY + height / 2;
}

function shift(row: HTMLElement, by: number): void {
  row.style.translate = by === 0 ? '' : `0 ${by}px`;
}
