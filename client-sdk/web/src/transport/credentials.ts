/** What a client shows a broker that asks who it is (WALL-1, WALL-6), and where that comes from. */

/** A token that the broker takes in place of a password. */
export interface Token {
  /** A JWT in compact form (WALL-6). */
  readonly text: string;
  /**
   * Milliseconds after which the next one is asked for, well before this one expires; the connection goes on with that
   * (WALL-8). Left out: it is not renewed, and where it expires, the connection ends and the next one asks.
   */
  readonly renewInMs?: number;
}

/**
 * Gives a fresh token. It is asked before each connection, again after `renewInMs`, and once more when the broker refuses
 * the one that it gave. `signal` ends when nobody waits for the answer any more. Rejects if the user has to sign in.
 */
export type AskToken = (signal: AbortSignal) => Promise<string | Token>;

/** What one connection shows. */
export type Shown =
  | { readonly type: 'nothing' }
  | { readonly type: 'password'; readonly username: string; readonly password: string }
  | { readonly type: 'token'; readonly token: Token };

/** The same at every connection, or what is given then. */
export type Credentials =
  | { readonly type: 'fixed'; readonly shown: Shown }
  | { readonly type: 'asked'; readonly ask: (signal: AbortSignal) => Promise<Shown> };

/** What an app says about its user. */
export interface CredentialOptions {
  readonly username?: string;
  readonly password?: string | (() => string);
  readonly token?: AskToken;
}

/** Throws a `RangeError` for what cannot be meant. */
export function credentialsOf({ username, password = '', token }: CredentialOptions): Credentials {
  if (token !== undefined) {
    if (password !== '')
      throw new RangeError(
        'token and password exclude each other: leave out the one that the broker does not ask for',
      );
    if (username === undefined)
      throw new RangeError(
        'token needs username beside it: by it this browser keeps the data of users apart',
      );
    return {
      type: 'asked',
      ask: async (signal) => ({ type: 'token', token: readToken(await token(signal)) }),
    };
  }
  if (username === undefined) return { type: 'fixed', shown: { type: 'nothing' } };
  if (typeof password === 'string') return { type: 'fixed', shown: { type: 'password', username, password } };
  return { type: 'asked', ask: async () => ({ type: 'password', username, password: password() }) };
}

/** Never says what the token is. */
function readToken(given: string | Token): Token {
  const token = typeof given === 'string' ? { text: given } : given;
  if (typeof token?.text !== 'string' || token.text === '')
    throw new TypeError('the token callback has to give a text, or { text, renewInMs }');
  const { renewInMs } = token;
  if (renewInMs !== undefined && !(renewInMs > 0)) throw new TypeError('renewInMs has to be above 0');
  return token;
}
