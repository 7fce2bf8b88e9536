// Figures for people.

const whole = new Intl.NumberFormat("en");
const two = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (n: number): string => whole.format(n);

/** A short count: 12,345 or 1.23 M. */
export function short(n: number): string {
  if (n < 100_000) return whole.format(n);
  if (n < 1e6) return three.format(n / 1e3) + " k";
  if (n < 1e9) return three.format(n / 1e6) + " M";
  return three.format(n / 1e9) + " G";
}

export function share(part: number, all: number): string {
  if (all <= 0) return "–";
  const percent = (100 * part) / all;
  if (percent === 0) return "0 %";
  return percent < 0.01 ? "< 0.01 %" : three.format(percent) + " %";
}

// Characters that would hide or turn text around; such a path stays as it was sent.
const unfit = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\u00a0\u2000-\u200a\u3000]/u;

/** A path as people write it: letters that were sent as %XX, but not characters with a meaning in paths. */
export function path(text: string): string {
  if (!/%[c-f89ab]/i.test(text)) return text;
  const decoded = text.replace(/(?:%[89a-f][0-9a-f])+/gi, (part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part; // not UTF-8
    }
  });
  return unfit.test(decoded) ? text : decoded;
}

/** A share for a headline: whole percents from 10 on. */
export function percent(part: number): string {
  if (part >= 0.1 || part === 0) return Math.round(part * 100) + " %";
  return part < 0.0001 ? "< 0.01 %" : two.format(part * 100) + " %";
}

export function rate(perSecond: number): string {
  if (perSecond === 0) return "0 /s";
  if (perSecond >= 0.1) return three.format(perSecond) + " /s";
  if (perSecond * 60 >= 0.1) return three.format(perSecond * 60) + " /min";
  return three.format(perSecond * 3600) + " /h";
}

export function micros(us: number): string {
  if (us < 1000) return Math.round(us) + " µs";
  if (us < 1e6) return three.format(us / 1e3) + " ms";
  return three.format(us / 1e6) + " s";
}

/** A duration as the API reads it. */
export const durationText = (us: number): string => (us % 1000 === 0 ? us / 1000 + "ms" : String(us));

/** A latency; "–" without responses. */
export const latency = (of: { count: number }, us: number): string => (of.count === 0 ? "–" : micros(us));

/** Formats the values of an axis in one unit, that of the largest. */
export function rateAxis(most: number): (v: number) => string {
  const [factor, unit] = most >= 0.1 || most === 0 ? [1, "/s"] : most * 60 >= 0.1 ? [60, "/min"] : [3600, "/h"];
  return (v) => `${three.format(v * factor)} ${unit}`;
}
export function microsAxis(most: number): (v: number) => string {
  const [divisor, unit] = most < 1000 ? [1, "µs"] : most < 1e6 ? [1e3, "ms"] : [1e6, "s"];
  return (v) => `${three.format(v / divisor)} ${unit}`;
}
/** Latencies of a logarithmic axis, all in milliseconds. */
export const millisAxis = (): (v: number) => string => (v) => three.format(v / 1e3) + " ms";
export const percentAxis = (): (v: number) => string => (v) => three.format(v) + " %";

export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return three.format(n) + " " + units[i];
}

/** The change from before to now, short enough for a cell. */
export function change(now: number, before: number): { text: string; sign: number } {
  if (before === 0) return now === 0 ? { text: "same", sign: 0 } : { text: "new", sign: 1 };
  const factor = now / before;
  const percent = (factor - 1) * 100;
  if (Math.abs(percent) < 0.5) return { text: "same", sign: 0 };
  if (factor >= 10) return { text: "× " + three.format(factor), sign: 1 };
  return { text: (percent > 0 ? "+" : "−") + three.format(Math.abs(percent)) + " %", sign: Math.sign(percent) };
}

// ---- times: in the time zone of the browser, or in UTC

const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
let utc = false;

/** Chooses UTC, or the time zone of the browser, for all times that are formatted or read from now on. */
export function useUTC(on: boolean): void {
  utc = on;
  times = formats();
}

/** The name of the time zone in which times are shown. */
export const zone = (): string => (utc ? "UTC" : own);

const clock = { hour: "2-digit", minute: "2-digit" } as const, date = { day: "numeric", month: "short" } as const;

function formats(): Record<"time" | "seconds" | "day" | "moment" | "year" | "onlyYear", Intl.DateTimeFormat> {
  const of = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: utc ? "UTC" : undefined });
  return {
    time: of(clock), seconds: of({ ...clock, second: "2-digit" }), day: of(date), moment: of({ ...date, ...clock }),
    year: of({ ...date, year: "numeric", ...clock }), onlyYear: of({ year: "numeric" }),
  };
}
let times = formats();

export const hourMinute = (t: Date): string => times.time.format(t);
export const timeOfDay = (t: Date): string => times.seconds.format(t);
export const timeWithMillis = (t: Date): string => `${timeOfDay(t)}.${String(t.getMilliseconds()).padStart(3, "0")}`;
export const dayOf = (t: Date): string => times.day.format(t);
export const moment = (t: Date): string => (times.onlyYear.format(t) === times.onlyYear.format(new Date()) ? times.moment : times.year).format(t);
export const today = (t: Date): boolean => dayOf(t) === dayOf(new Date()) && Math.abs(Date.now() - t.getTime()) < 2 * 86_400_000;

/** A date whose local fields, such as getHours, are those of t in the time zone that is shown. */
export const calendar = (t: Date): Date => (utc ? new Date(t.getTime() + t.getTimezoneOffset() * 60_000) : t);

/** The value of a field for a date and a time, and the time that a user entered in one. */
export const toField = (t: Date): string => new Date(t.getTime() - (utc ? 0 : t.getTimezoneOffset() * 60_000)).toISOString().slice(0, 16);
export const fromField = (text: string): Date => new Date(utc ? text + "Z" : text);

export function age(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export const plural = (n: number, one: string, many: string): string => `${count(n)} ${n === 1 ? one : many}`;
