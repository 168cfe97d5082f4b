//! What the filter denies, with the numbers of both architectures.

use super::seccomp::{Rule, When, CLONE_DENIED, UNSHARE_DENIED};
use crate::sys::abi::{EAFNOSUPPORT, ENOSYS, EPERM};

/// The architecture as seccomp sees it.
#[cfg(target_arch = "x86_64")]
pub const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub const ARCH: u32 = 0xc000_00b7;

/// Highest number that is let through (removexattrat): what came later is
/// unknown here, and programs fall back when it does not exist.
pub const HIGHEST: u32 = 466;

/// A row for both architectures.
macro_rules! deny {
    ($($name:literal $x86:literal $arm:literal $when:expr, $errno:expr, $reason:literal;)*
     x86 only: $($only:literal $number:literal $why:literal;)*) => {
        #[cfg(target_arch = "x86_64")]
        pub const DENIED: &[Rule] = &[
            $(Rule { name: $name, number: $x86, when: $when, errno: $errno, reason: $reason },)*
            $(Rule { name: $only, number: $number, when: When::Always, errno: EPERM, reason: $why },)*
        ];
        #[cfg(target_arch = "aarch64")]
        pub const DENIED: &[Rule] = &[
            $(Rule { name: $name, number: $arm, when: $when, errno: $errno, reason: $reason },)*
        ];
    };
}

const ALWAYS: When = When::Always;

deny! {
    // Files and mounts: the view of the file system is part of the wall.
    "mount" 165 40 ALWAYS, EPERM, "changes the file system the sandbox was given";
    "umount2" 166 39 ALWAYS, EPERM, "uncovers what a mount hides";
    "pivot_root" 155 41 ALWAYS, EPERM, "replaces the root";
    "open_tree" 428 428 ALWAYS, EPERM, "new mount interface";
    "move_mount" 429 429 ALWAYS, EPERM, "new mount interface";
    "fsopen" 430 430 ALWAYS, EPERM, "new mount interface; parsers of file systems";
    "fsconfig" 431 431 ALWAYS, EPERM, "new mount interface; parsers of file systems";
    "fsmount" 432 432 ALWAYS, EPERM, "new mount interface";
    "fspick" 433 433 ALWAYS, EPERM, "new mount interface";
    "mount_setattr" 442 442 ALWAYS, EPERM, "takes away read-only and nosuid";
    "swapon" 167 224 ALWAYS, EPERM, "the host's memory";
    "swapoff" 168 225 ALWAYS, EPERM, "the host's memory";
    "quotactl" 179 60 ALWAYS, EPERM, "the host's quotas";
    "quotactl_fd" 443 443 ALWAYS, EPERM, "the host's quotas";
    "open_by_handle_at" 304 265 ALWAYS, EPERM, "opens files outside the root by inode";
    "lookup_dcookie" 212 18 ALWAYS, EPERM, "names files of the whole host";
    "nfsservctl" 180 42 ALWAYS, EPERM, "removed kernel interface";
    // Namespaces: a new user namespace is root against most of the kernel.
    "setns" 308 268 ALWAYS, EPERM, "enters namespaces of others";
    "unshare" 272 97 UNSHARE_DENIED, EPERM, "new namespaces";
    "clone" 56 220 CLONE_DENIED, EPERM, "new namespaces";
    "clone3" 435 435 ALWAYS, ENOSYS, "its flags cannot be inspected; libraries fall back to clone";
    // Code in the kernel.
    "bpf" 321 280 ALWAYS, EPERM, "programs in the kernel";
    "perf_event_open" 298 241 ALWAYS, EPERM, "watches the host, large attack surface";
    "kexec_load" 246 104 ALWAYS, EPERM, "replaces the kernel";
    "kexec_file_load" 320 294 ALWAYS, EPERM, "replaces the kernel";
    "init_module" 175 105 ALWAYS, EPERM, "code in the kernel";
    "finit_module" 313 273 ALWAYS, EPERM, "code in the kernel";
    "delete_module" 176 106 ALWAYS, EPERM, "code in the kernel";
    "userfaultfd" 323 282 ALWAYS, EPERM, "stops the kernel at chosen points; a tool of exploits";
    "io_uring_setup" 425 425 ALWAYS, EPERM, "large attack surface, and work that no filter sees";
    "io_uring_enter" 426 426 ALWAYS, EPERM, "large attack surface, and work that no filter sees";
    "io_uring_register" 427 427 ALWAYS, EPERM, "large attack surface, and work that no filter sees";
    // Not namespaced: shared with the host.
    "keyctl" 250 219 ALWAYS, EPERM, "keyrings are shared with the host";
    "add_key" 248 217 ALWAYS, EPERM, "keyrings are shared with the host";
    "request_key" 249 218 ALWAYS, EPERM, "keyrings are shared with the host";
    "syslog" 103 116 ALWAYS, EPERM, "the host's kernel log";
    "reboot" 169 142 ALWAYS, EPERM, "the host, or the sandbox under our feet";
    "acct" 163 89 ALWAYS, EPERM, "process accounting of the host";
    "settimeofday" 164 170 ALWAYS, EPERM, "the host's clock";
    "clock_settime" 227 112 ALWAYS, EPERM, "the host's clock";
    "clock_adjtime" 305 266 ALWAYS, EPERM, "the host's clock";
    "adjtimex" 159 171 ALWAYS, EPERM, "the host's clock";
    "vhangup" 153 58 ALWAYS, EPERM, "hangs up the terminal of others";
    // Arguments decide.
    "personality" 135 92 When::NotValues(0, &[0, 8, 0x2_0000, 0x2_0008, 0x4_0000, u32::MAX]), EPERM,
        "execution domains other than Linux; debuggers may switch off randomisation";
    "ioctl" 16 29 When::Values(1, &[0x5412, 0x541c]), EPERM,
        "TIOCSTI and TIOCLINUX type into a terminal that others read";
    "socket" 41 198 When::Values(0, &[38, 40]), EAFNOSUPPORT,
        "AF_VSOCK reaches the host past the network; AF_ALG is unneeded kernel code";
    x86 only:
    "iopl" 172 "hardware ports";
    "ioperm" 173 "hardware ports";
    "modify_ldt" 154 "16-bit segments; only exploits and very old programs need them";
    "create_module" 174 "removed kernel interface";
    "get_kernel_syms" 177 "removed kernel interface";
    "query_module" 178 "removed kernel interface";
    "_sysctl" 156 "removed kernel interface";
    "uselib" 134 "ancient loader interface";
    "ustat" 136 "ancient interface to devices";
    "sysfs" 139 "ancient interface to file systems";
}
