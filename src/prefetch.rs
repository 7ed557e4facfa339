//! Prefetching: memory that is needed soon is fetched while other work goes on.
//!
//! With a million peers, most lookups read memory that is in no cache. The fast path
//! knows the addresses for a whole batch of queries before it needs the first value.

/// The size of a cache line, in bytes.
const LINE: usize = 64;

/// Makes the processor fetch the cache lines of a value, without waiting for them. It
/// is a hint: processors other than x86-64 do nothing.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    let first: *const i8 = std::ptr::from_ref(value).cast();
    for offset in (0..size_of::<T>()).step_by(LINE) {
        fetch(first.wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch neither reads nor writes as far as the program can see, and
    // does not fault at any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn fetch(_: *const i8) {}
