import { describe, expect, it } from 'vitest';
import type { SyncEvent, Value } from '../../src/index.js';
import { Seeded } from '../src/cover/random.js';
import { find } from '../src/find.js';
import { albums, titleOf, tracks } from '../src/library.js';
import { starChange, Stars } from '../src/stars.js';

/** Only what `Stars` reads. */
function starsOf(starred: Readonly<Record<string, readonly string[]>>): Stars {
  const has = (collection: string, key: string): boolean => starred[collection]?.includes(key) ?? false;
  return new Stars({ has, entries: () => [] }, { publish: () => Promise.reject(new Error('read only')) });
}

function event(eventType: string, eventData: Value): SyncEvent {
  return { eventType, eventData } as SyncEvent;
}

describe('the shelf', () => {
  it('has some forty albums, each id once, made of what an address or a shell may hold', () => {
    expect(albums.length).toBeGreaterThanOrEqual(40);
    const ids = [...albums, ...tracks].map((one) => one.id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) expect(id).toMatch(/^[a-z0-9-]+(\.\d+)?$/);
  });

  it('knows its own titles and no others', () => {
    expect(titleOf('album', 'paper-harbours')).toBe('Paper Harbours');
    expect(titleOf('track', 'paper-harbours.3')).toBe('The Ferryman Counts');
    expect(titleOf('album', 'paper-harbours.3')).toBeUndefined();
  });
});

describe('search', () => {
  const none = starsOf({});

  it('shows every album and no single track while nothing is asked', () => {
    const found = find({ text: ' ', starredOnly: false }, none);
    expect([found.albums.length, found.tracks.length]).toEqual([albums.length, 0]);
  });

  it('wants every word, in any order, whatever case and accents', () => {
    const found = find({ text: 'PONTE societa', starredOnly: false }, none);
    expect(found.albums.map((album) => album.id)).toEqual(['aqueduct']);
    expect(found.tracks).toEqual([]);
    const track = find({ text: 'schlusselubergabe', starredOnly: false }, none).tracks;
    expect(track.map((one) => one.id)).toEqual(['bauplan.7']);
  });

  it('finds a track by its own title together with its artist', () => {
    const found = find({ text: 'marrant ferryman', starredOnly: false }, none);
    expect(found.tracks.map((track) => track.id)).toEqual(['paper-harbours.3']);
  });

  it('keeps to the stars in the starred view', () => {
    const stars = starsOf({ albums: ['kiln', 'unknown-elsewhere'], tracks: ['loom.2'] });
    const found = find({ text: '', starredOnly: true }, stars);
    expect(found.albums.map((album) => album.id)).toEqual(['kiln']);
    expect(found.tracks.map((track) => track.id)).toEqual(['loom.2']);
    expect(find({ text: 'kiln', starredOnly: true }, stars).tracks).toEqual([]);
  });
});

describe('an event', () => {
  it('that stars or unstars is understood', () => {
    expect(starChange(event('star_album', { album_id: 'kiln' }))).toEqual({
      kind: 'album',
      id: 'kiln',
      starred: true,
    });
    expect(starChange(event('unstar_track', { track_id: 'kiln.1' }))?.starred).toBe(false);
  });

  it.each([null, 7, 'album_id', ['kiln'], {}, { album_id: 7 }, { track_id: 'kiln' }])(
    'with %j for an album is not',
    (data) => {
      expect(starChange(event('star_album', data))).toBeNull();
    },
  );
});

describe('a cover', () => {
  it('is drawn from the same numbers on every machine', () => {
    const random = new Seeded('paper-harbours');
    const drawn = [random.whole(0, 999), random.whole(0, 999), random.whole(0, 999)];
    expect(drawn).toEqual([202, 709, 18]);
  });
});
