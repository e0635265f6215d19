/** The protocol in TypeScript: pure, without IO or clock. Rules in `protocol/SPEC.md`. */
export * from './value.js';
export * from './canonical.js';
export * from './json.js';
export * from './ids.js';
export * from './clock.js';
export * from './event.js';
export * from './digest.js';
export * from './schema.js';
export * from './compose.js';
export * from './entry.js';
export * from './list.js';
export * from './merge.js';
export * from './state.js';
export * from './snapshot.js';
export * from './presence.js';
export * from './refusal.js';
export { MalformedError } from './fields.js';
