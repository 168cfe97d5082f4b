/** Passes a generator on and tells the value it returns. */
export async function* noting<T, R>(source: AsyncGenerator<T, R, void>, note: (result: R) => void): AsyncGenerator<T, void, void> {
  note(yield* source);
}
