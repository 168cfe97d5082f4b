import * as colours from "yoctocolors";

type Style = (text: string) => string;

/** A style for a stream: plain text where it is no terminal. */
function on(stream: { readonly isTTY?: boolean }, style: Style): Style {
  return (text) => (stream.isTTY === true ? style(text) : text);
}

/** Styles for standard output. */
export const bold: Style = on(process.stdout, colours.bold);
export const dim: Style = on(process.stdout, colours.dim);
export const green: Style = on(process.stdout, colours.green);
export const red: Style = on(process.stdout, colours.red);
export const yellow: Style = on(process.stdout, colours.yellow);
