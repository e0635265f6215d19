// A document for React. Not vitest's own environment of jsdom: that takes Node's `URL` away, by which the tests find their files.
// Before there is a `window`, into which it would go.
import 'fake-indexeddb/auto';
import { JSDOM } from 'jsdom';

const { window } = new JSDOM();
const { document, navigator } = window;
Object.assign(globalThis, { window, document, navigator, IS_REACT_ACT_ENVIRONMENT: true });
