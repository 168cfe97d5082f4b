/** Version of this build. */
export const VERSION = "0.2.0";
