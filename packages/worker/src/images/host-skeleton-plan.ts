/** Something the machine has that a box needs a copy of, and why. */
export interface CopiedPath {
  /** Absolute path on the machine. Missing ones are left out. */
  readonly path: string;
  readonly reason: string;
}

/**
 * All that is copied from the machine's `/etc`. Only files that every user of the machine may read are taken, so that
 * nothing secret can slip in; users, groups, host names, machine id, mounts, keys and package sources are never copied.
 */
export const COPIED_PATHS: readonly CopiedPath[] = [
  { path: "/etc/ld.so.cache", reason: "the loader finds libraries outside its default folders" },
  { path: "/etc/ld.so.conf", reason: "ldconfig inside the box" },
  { path: "/etc/ld.so.conf.d", reason: "ldconfig inside the box" },
  { path: "/etc/alternatives", reason: "links in /usr/bin such as awk, editor and java lead through it" },
  { path: "/etc/ssl/certs", reason: "TLS clients trust the same authorities as the machine" },
  { path: "/etc/ssl/openssl.cnf", reason: "OpenSSL reads it through a link in /usr/lib/ssl" },
  { path: "/etc/ca-certificates", reason: "authorities of machines that keep them outside /etc/ssl" },
  { path: "/etc/pki/tls/certs", reason: "authorities on Fedora and its kin" },
  { path: "/etc/pki/ca-trust/extracted", reason: "authorities on Fedora and its kin" },
  { path: "/etc/localtime", reason: "time zone" },
  { path: "/etc/timezone", reason: "time zone" },
  { path: "/etc/debian_version", reason: "scripts that tell the distribution by it" },
  { path: "/etc/protocols", reason: "getprotobyname" },
  { path: "/etc/services", reason: "getservbyname" },
  { path: "/etc/mime.types", reason: "guessing types of files" },
  { path: "/etc/magic", reason: "the file command" },
  { path: "/etc/inputrc", reason: "keys of readline in terminals" },
  { path: "/etc/terminfo", reason: "terminal descriptions" },
  { path: "/etc/locale.alias", reason: "locale names; a link in /usr leads here" },
  { path: "/etc/fonts", reason: "fontconfig, for programs that draw" },
  { path: "/etc/perl", reason: "Perl's library path" },
  { path: "/etc/python3", reason: "Debian's Python defaults" },
  { path: "/etc/python3.9", reason: "sitecustomize, a link in /usr/lib leads here" },
  { path: "/etc/python3.10", reason: "sitecustomize, a link in /usr/lib leads here" },
  { path: "/etc/python3.11", reason: "sitecustomize, a link in /usr/lib leads here" },
  { path: "/etc/python3.12", reason: "sitecustomize, a link in /usr/lib leads here" },
  { path: "/etc/python3.13", reason: "sitecustomize, a link in /usr/lib leads here" },
  { path: "/etc/java-11-openjdk", reason: "Java's security settings, links in /usr/lib/jvm lead here" },
  { path: "/etc/java-17-openjdk", reason: "Java's security settings, links in /usr/lib/jvm lead here" },
  { path: "/etc/java-21-openjdk", reason: "Java's security settings, links in /usr/lib/jvm lead here" },
  { path: "/etc/maven", reason: "Maven's logging settings, a link in /usr/share/maven leads here" },
  { path: "/etc/vim", reason: "Vim's defaults" },
];

/** Bounds of the copies: what is larger is left out. */
export const COPY_LIMITS: { readonly fileBytes: number; readonly totalBytes: number; readonly entries: number } = {
  fileBytes: 4 * 1024 * 1024,
  totalBytes: 32 * 1024 * 1024,
  entries: 20_000,
};

/** Links at the top of a machine whose `/usr` is merged; a box gets those that the machine has. */
export const MERGED_LINKS = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] as const;

/** User and group ids of the default user. */
export const USER_ID = 1000;

/** A folder of the skeleton. */
export interface PlannedFolder {
  readonly path: string;
  readonly mode: number;
  /** Owner; absent: root. */
  readonly owner?: number;
}

/** Folders of the skeleton, parents first. */
export const FOLDERS: readonly PlannedFolder[] = [
  { path: "usr", mode: 0o755 },
  { path: "etc", mode: 0o755 },
  { path: "etc/profile.d", mode: 0o755 },
  { path: "home", mode: 0o755 },
  { path: "home/user", mode: 0o755, owner: USER_ID },
  { path: "root", mode: 0o700 },
  { path: "workspace", mode: 0o755, owner: USER_ID },
  { path: "tmp", mode: 0o1777 },
  { path: "run", mode: 0o755 },
  { path: "run/lock", mode: 0o1777 },
  { path: "var", mode: 0o755 },
  { path: "var/tmp", mode: 0o1777 },
  { path: "var/log", mode: 0o755 },
  { path: "var/cache", mode: 0o755 },
  { path: "var/lib", mode: 0o755 },
  { path: "proc", mode: 0o755 },
  { path: "sys", mode: 0o755 },
  { path: "dev", mode: 0o755 },
  { path: "opt", mode: 0o755 },
  { path: "srv", mode: 0o755 },
  { path: "mnt", mode: 0o755 },
  { path: "media", mode: 0o755 },
];

/** A file or link that is written fresh. */
export type PlannedEntry =
  | { readonly path: string; readonly text: string; readonly mode?: number; readonly owner?: number }
  | { readonly path: string; readonly link: string };

/** Files and links that are written fresh. `shell` is the login shell that the machine has. */
export function freshEntries(shell: string): readonly PlannedEntry[] {
  return [
    {
      path: "etc/passwd",
      text: [
        `root:x:0:0:root:/root:${shell}`,
        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
        `user:x:${USER_ID}:${USER_ID}:user:/home/user:${shell}`,
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
        "",
      ].join("\n"),
    },
    {
      path: "etc/group",
      text: ["root:x:0:", "daemon:x:1:", "tty:x:5:", "staff:x:50:", "users:x:100:", `user:x:${USER_ID}:`, "nogroup:x:65534:", ""].join(
        "\n",
      ),
    },
    { path: "etc/hosts", text: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" },
    { path: "etc/hostname", text: "sandbox\n" },
    { path: "etc/resolv.conf", text: "" },
    {
      path: "etc/nsswitch.conf",
      text: "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n",
    },
    { path: "etc/shells", text: [...new Set(["/bin/sh", shell])].join("\n") + "\n" },
    {
      path: "etc/profile",
      text: [
        "PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}",
        "export PATH",
        'for script in /etc/profile.d/*.sh; do [ -r "$script" ] && . "$script"; done',
        "unset script",
        "",
      ].join("\n"),
    },
    { path: "etc/mtab", link: "../proc/self/mounts" },
    { path: "var/run", link: "/run" },
    { path: "var/lock", link: "/run/lock" },
    { path: "home/user/.profile", text: '[ -n "$BASH_VERSION" ] && [ -r ~/.bashrc ] && . ~/.bashrc\n', owner: USER_ID },
    { path: "home/user/.bashrc", text: "case $- in *i*) PS1='\\u@\\h:\\w\\$ ' ;; esac\n", owner: USER_ID },
  ];
}
