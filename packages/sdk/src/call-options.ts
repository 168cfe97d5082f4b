/** Options that come last in every call. */
export interface CallOptions {
  /** Ends the call; it then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Time to wait for the answer, in ms. For a stream: for its beginning; it may then last as long as it likes.
   * @default the client's `timeoutMs`
   */
  readonly timeoutMs?: number | undefined;
}
