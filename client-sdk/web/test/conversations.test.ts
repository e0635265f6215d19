import { describe, expect, it } from 'vitest';
import { conversations, play } from './conversation.js';

describe('conversations', () => {
  const all = conversations();

  it('are there', () => expect(all.length).toBeGreaterThan(0));

  it.each(
    all.map((conversation) => [conversation.rules.join(' '), conversation.title, conversation] as const),
  )('%s: %s', (_rules, _title, conversation) => play(conversation));
});
