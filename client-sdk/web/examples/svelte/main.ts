/** Starred albums in every window of a group, in Svelte. */
import { openSyncline } from '@syncline/client';
import { mount } from 'svelte';
import Albums from './Albums.svelte';

const sync = await openSyncline({ url: 'ws://localhost:8080/mqtt', syncId: 'demo' });
mount(Albums, { target: document.body, props: { sync } });
