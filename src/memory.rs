//! Memory that is no longer used.

/// Returns freed memory to the system. The allocator keeps it otherwise, after a start
/// about as much as what was read for it.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function has no requirements; it only looks at free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}
