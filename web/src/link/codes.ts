// Placeholder until the generator has run; the shape is fixed.
export interface CodeInfo {
  readonly number: number;
  readonly name: string;
  readonly status: number;
  readonly sentence: string;
  readonly remedy: string;
}
export const CODES: readonly CodeInfo[] = [];
export function codeByNumber(number: number): CodeInfo | undefined {
  return CODES.find((code) => code.number === number);
}
export function codeByName(name: string): CodeInfo | undefined {
  return CODES.find((code) => code.name === name);
}
