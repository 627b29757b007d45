/** Takes out of an error's message what differs between two failures of one reason. */
import { isRandom, LONGEST_WORD, plainRun, VALUE } from './normalize-words.js';

/** Characters of a message that are read: what follows is never looked at, so that no text takes long. */
const READ = 2_048;
/** Characters that a normalised message has at the most. */
export const MAX_NORMALIZED_LENGTH = 512;
/** Passes over a text at the most; two are usual, the second of which changes nothing. */
const MAX_PASSES = 8;

const PATH = '<path>';
const TEXT = '<text>';
const EMAIL = '<email>';
const PLACEHOLDERS: readonly string[] = [VALUE, PATH, TEXT, EMAIL];

// Sticky, all of them: nothing is searched for, only looked at where the scan is.
const PLACEHOLDER = /<(?:path|text|email)>/y;
const JSON_TOKEN = /Unexpected token '[^<]{1,2}', (?=(?:\.\.\.)?")/y;
const JSON_SNIPPET = /(?:\.\.\.)?"[^]*?"(?:\.\.\.)? is not valid JSON/y;
const DUPLICATE_KEY = /(?<=dup )key: \{[^}]*\}/y;
const BUFFER = /<Buffer[ \da-f]*(?:\.\.\. \d+ more bytes?)?>/y;
const QUOTED = /'[^']*'|"[^"]*"|`[^`]*`/y;
const FILE_URL = /file:\/\/[^\s"'`<>()[\]{}|,;]*/iy;
const DATA_URL = /data:[\w/+.-]*[;,][^\s"'`<>()]*/iy;
/** Scheme, user, host, port and all that follows. */
const ANY_URL =
  /([a-z][a-z\d+.-]{0,15}:\/\/)(?:[^\s/?"'`<>]*@)?(\[[\da-f:.%]*\]|[\w.#-]*)(?::[\d#]+)?(?:[/?][^\s"'`<>()[\]{}|]*)?/iy;
const ADDRESS = /(?<![\w.+#-])[\w.+#-]+@[\w#-]+(?:\.[\w#-]+)+/y;
const BASE64 = /(?<![\w+/=])[A-Za-z\d+/]{24,}={0,2}(?![\w+/=-])/y;
const JSON_WEB_TOKEN = /eyJ[\w-]{8,}(?:\.[\w-]+){0,2}/y;
/** Characters of a path outside of quotes. */
const IN_PATH = '[^\\s"\'`<>()[\\]{}|,;]';
/** Up to two blanks in one folder's name, when a separator follows: `C:\Program Files\nodejs`. */
const BLANKS = `(?:(?<![.,:;!?])(?: [\\w.@+-]+){1,2}[/\\\\]${IN_PATH}*)*`;
const WINDOWS_PATH = new RegExp(`(?:[a-z]:[\\\\/]|\\\\\\\\\\w|\\.{1,2}\\\\)${IN_PATH}*${BLANKS}`, 'iy');
const POSIX_PATH = new RegExp(`(?:\\.{1,2}|~)?/[\\w.@~%+:#$-]${IN_PATH}*${BLANKS}`, 'y');
const RELATIVE_PATH = /(?<![\w.+#-])@?[\w.#+-]+(?:[/\\][\w.@#+-]+)+(?::\d+){0,2}/y;
const WEEKDAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? ';
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*';
const ZONE = '(?: ?(?:GMT|UTC|Z)(?:[+-]\\d{4})?)?(?: \\([A-Z][\\w ]*\\))?';
const DATE = new RegExp(
  `(?:${WEEKDAY})?(?:${MONTH} \\d{1,2}|\\d{1,2} ${MONTH}),? \\d{4}(?:,? \\d{1,2}:\\d\\d(?::\\d\\d)?)?${ZONE}`,
  'y',
);
const ISO_TIME = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?Z| ?UTC|[+-]\d\d:?\d\d)?(?![\w#])/y;
/** Times of day too, which are as long as it has a digit and two colons. */
const IPV6 =
  /\[?(?=[\da-f:.]*\d)(?:[\da-f]{0,4}:){2,7}(?:[\da-f]{0,4}|[\d.]{7,15})(?:%\w+)?(?:\](?::\d+)?)?(?![\w#:])/iy;
const UNIT =
  '%|am|pm|[nuµm]?s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|weeks?|milliseconds?|[kmgt]?i?b|bytes?|st|nd|rd|th|n|px';
/** Versions, IPs with their ports, dates and lists without blanks are numbers that hang together. */
const NUMBER = new RegExp(
  `\\d+(?:[.,:_/-]\\d+)*(?:e[+-]?\\d+)?(?: ?(?:${UNIT})(?![\\w#]))*(?![\\w#]|-[\\w#])`,
  'iy',
);
const RUN = /[\w#-]+/y;
/** Most of a message, and nothing to any of the above. */
const PLAIN_WORD = /[a-z]{1,15}(?= )|[ ,;)!]+/y;

/** Numbers that are the reason: an HTTP status, an exit code. Told by what stands before them. */
const BEFORE_MEANT =
  /(?:\bstatus(?: ?code)?|\bHTTP(?:\/#)?|\bresponse code|\bexit(?:ed with)?(?: code)?)[ :=(]{1,3}$/i;
/** Quoted texts that are data, by what stands before them. */
const BEFORE_DATA = /\bDuplicate entry $|\bReceived (?:type string \()?$|\bsyntax for type [a-z ]+: $/;
/** Quoted texts that are the message of another error, as Rust and validators show it. */
const BEFORE_REASON = /\w\($|"message": ?$/;
const REPEATED = /(#|<path>|<text>|<email>) ?[,;|]? ?(?:- )?\1$/;

/** A text, how far it was read, and what came of that. */
class Scan {
  out = '';
  at = 0;
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The last character that was written; empty at the beginning. */
  get last(): string {
    return this.out.slice(-1);
  }

  /** The match of a sticky pattern at this very place; null without one, or when it is empty. */
  see(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    return match === null || match[0] === '' ? null : match;
  }

  /** Passes over `read` and writes `written` for it; a list of placeholders becomes one, however long it was. */
  take(read: string, written: string): true {
    this.at += read.length;
    this.out += written;
    const list = PLACEHOLDERS.includes(written) ? REPEATED.exec(this.out.slice(-24)) : null;
    if (list !== null) this.out = this.out.slice(0, -list[0].length) + written;
    return true;
  }

  /** Writes `written` for the first of the patterns that is seen here. */
  takeAny(patterns: readonly RegExp[], written: string): boolean {
    for (const pattern of patterns) {
      const match = this.see(pattern);
      if (match !== null) return this.take(withoutStop(match[0]), written);
    }
    return false;
  }
}

/** Without the sign that ends the sentence, not the path. */
function withoutStop(text: string): string {
  return text.replace(/(?<=[^.,:;!?])[.,:;!?]{1,8}$/, '');
}

/** What V8, Node and MongoDB say about data that they show. */
function takeKnownText(scan: Scan): boolean {
  const known = scan.see(PLACEHOLDER);
  if (known !== null) return scan.take(known[0], known[0]);
  const token = scan.see(JSON_TOKEN);
  // `<` alone stays: it says that HTML came instead of JSON.
  if (token !== null) return scan.take(token[0], 'Unexpected token ');
  const snippet = scan.see(JSON_SNIPPET);
  if (snippet !== null) return scan.take(snippet[0], `${TEXT} is not valid JSON`);
  const key = scan.see(DUPLICATE_KEY);
  if (key !== null) return scan.take(key[0], `key: ${TEXT}`);
  return scan.takeAny([BUFFER], TEXT);
}

/** Quoted names (a table, a property, a package) are the reason and stay; sentences, paths and data are not. */
function takeQuoted(scan: Scan): boolean {
  const quoted = scan.see(QUOTED)?.[0];
  if (quoted === undefined) return false;
  const inner = quoted.slice(1, -1);
  const quote = quoted.slice(0, 1);
  if (BEFORE_DATA.test(scan.out.slice(-LONGEST_WORD))) return scan.take(quoted, TEXT);
  if (BEFORE_REASON.test(scan.out.slice(-LONGEST_WORD)))
    return scan.take(quoted, quote + pass(inner) + quote);
  // In quotes a path may hold any number of blanks.
  if (/^(?:\.{0,2}[/\\]\S|[a-z]:[\\/]|file:)/i.test(inner)) return scan.take(quoted, quote + PATH + quote);
  const plain = pass(inner);
  const isName = plain !== TEXT && plain.length <= LONGEST_WORD && !/\s/.test(plain);
  return scan.take(quoted, isName ? quote + plain + quote : TEXT);
}

/** Of a URL the scheme and the host stay: who was called is a reason; what was asked, by whom and where is not. */
function takeUrl(scan: Scan): boolean {
  if (scan.takeAny([FILE_URL], PATH) || scan.takeAny([DATA_URL], 'data:')) return true;
  const url = scan.see(ANY_URL);
  if (url === null) return false;
  const [all, scheme = '', host = ''] = url;
  const isIp = /^[[\d][\da-f:.%\]]*$/i.test(host);
  const name = isIp ? VALUE : host.split('.').map(plainRun).join('.').slice(0, LONGEST_WORD);
  return scan.take(withoutStop(all), scheme + withoutStop(name));
}

function takeNumber(scan: Scan): boolean {
  if (scan.takeAny([ISO_TIME, DATE, IPV6], VALUE)) return true;
  const number = scan.see(NUMBER)?.[0];
  if (number === undefined) return false;
  const meant = /^\d{1,3}$/.test(number) && BEFORE_MEANT.test(scan.out.slice(-32));
  return scan.take(number, meant ? number : VALUE);
}

/** `and/or`, `application/json` and `@scope/package` are words; two separators or an extension make a path. */
function takeRelativePath(scan: Scan): boolean {
  const read = withoutStop(scan.see(RELATIVE_PATH)?.[0] ?? '');
  const isPath = /[/\\].*[/\\]|[/\\].*\.[a-z]\w{0,4}(?::\d+)*$/i.test(read);
  return isPath && scan.take(read, PATH);
}

function takeRun(scan: Scan): boolean {
  const run = scan.see(RUN)?.[0];
  if (run === undefined) return false;
  if (!run.startsWith('-') || isRandom(run)) return scan.take(run, plainRun(run));
  // The sign of a number goes with it; any other is a dash.
  const isSign = /^-[\d#]/.test(run) && /^[ (=:,[]?$/.test(scan.last);
  const [dashes = ''] = /^-+/.exec(run) ?? [];
  return scan.take(dashes, isSign ? '' : dashes);
}

function takeNext(scan: Scan): boolean {
  const word = scan.see(PLAIN_WORD)?.[0];
  if (word !== undefined) return scan.take(word, word);
  // What follows a word directly opens nothing: an apostrophe, the slash of `and/or`.
  const opens = !/[\w#]/.test(scan.last);
  if (takeKnownText(scan) || (opens && takeQuoted(scan)) || takeUrl(scan)) return true;
  if (scan.takeAny([ADDRESS], EMAIL) || scan.takeAny([JSON_WEB_TOKEN], VALUE)) return true;
  const base64 = scan.see(BASE64)?.[0] ?? '';
  if (isRandom(base64)) return scan.take(base64, VALUE);
  if (opens && scan.takeAny([WINDOWS_PATH, POSIX_PATH], PATH)) return true;
  if (takeNumber(scan) || takeRelativePath(scan) || takeRun(scan)) return true;
  const character = String.fromCodePoint(scan.text.codePointAt(scan.at) ?? 0);
  return scan.take(character, character);
}

function pass(text: string): string {
  const scan = new Scan(text);
  while (scan.at < text.length) {
    const before = scan.out;
    takeNext(scan);
    // Cut between two pieces, never in one: half an id would make a group of its own.
    if (scan.out.length > MAX_NORMALIZED_LENGTH) return before.trimEnd();
  }
  return scan.out.trimEnd();
}

/** One line, without colours; what was cut off at the end of a long text is made up for by the bound of the result. */
function oneLine(message: string): string {
  return (
    message
      .slice(0, READ)
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex
      .replace(/\u001b\[[\d;]*m/g, '')
      // oxlint-disable-next-line no-control-regex
      .replace(/[\s\u0000-\u001f\u007f]+/g, ' ')
      .trim()
  );
}

/**
 * The reason that a message gives, the same for every failure of that reason. Taken out are numbers with their units,
 * dates, times, IPs and ports, hex, UUIDs and other ids, all as `#`; paths and file URLs as `<path>`; path, query,
 * user and port of other URLs, whose host stays; e-mail addresses; quoted sentences and data as `<text>`. Kept are
 * words and their case, quoted names (of a table, a property, a package), HTTP statuses and exit codes. Lists of one
 * kind become one, whitespace one blank.
 *
 * Only the first 2,048 characters are read, the result has at most 512, and doing it twice changes nothing.
 *
 * @example
 * normalizedMessage("ENOENT: no such file or directory, open '/tmp/in/42.csv'");
 * // "ENOENT: no such file or directory, open '<path>'"
 * normalizedMessage('connect ECONNREFUSED 127.0.0.1:6379'); // 'connect ECONNREFUSED #'
 */
export function normalizedMessage(message: string): string {
  let text = oneLine(message);
  // What one pass brings together, such as two halves of a path, only the next one sees.
  for (let passes = 0; passes < MAX_PASSES; passes += 1) {
    const next = pass(text);
    if (next === text) return text;
    text = next;
  }
  // Made to keep us busy: nobody's reason.
  return TEXT;
}
