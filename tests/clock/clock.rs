//! A clock that a test sets, for one process: a library that is loaded before all others (`LD_PRELOAD`) and answers
//! for the system's real time.
//!
//! The file that `TOLLGATE_TEST_CLOCK` names holds nanoseconds since the epoch, 8 bytes in the machine's order. Time
//! stands still there, until the file says something else. Other clocks run on, so timeouts stay what they are.
//! `libfaketime` would do, but Envoy's allocator asks for the time before that library has begun, and both wait for
//! ever. This one allocates nothing and begins with the first question.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: c_long,
}

#[repr(C)]
struct Timeval {
    seconds: i64,
    microseconds: c_long,
}

unsafe extern "C" {
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mmap(at: *mut c_void, size: usize, reads: c_int, flags: c_int, file: c_int, from: i64) -> *mut c_void;
    fn syscall(number: c_long, ...) -> c_long;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

const VARIABLE: &CStr = c"TOLLGATE_TEST_CLOCK";
static SET: AtomicPtr<AtomicI64> = AtomicPtr::new(ptr::null_mut());

/// Nanoseconds since the epoch.
fn now() -> i64 {
    let mut set = SET.load(Ordering::Acquire);
    if set.is_null() {
        // SAFETY: the file is there for as long as the process, and holds eight bytes; who maps it twice sees the same.
        set = unsafe {
            let path = getenv(VARIABLE.as_ptr());
            let file = if path.is_null() { -1 } else { open(path, 0) };
            let mapped = mmap(ptr::null_mut(), 8, 1, 1, file, 0);
            // With nothing to go by, a test must not seem to pass.
            if mapped as isize == -1 { ptr::null_mut() } else { mapped.cast() }
        };
        SET.store(set, Ordering::Release);
    }
    // SAFETY: see above.
    if set.is_null() { 0 } else { unsafe { (*set).load(Ordering::Relaxed) } }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int {
    // The real time, exact and coarse.
    if clock != 0 && clock != 5 {
        // SAFETY: the caller's pointer goes to the system as it is.
        return unsafe { syscall(CLOCK_GETTIME, c_long::from(clock), time) } as c_int;
    }
    let now = now();
    // SAFETY: the caller's pointer is to a timespec.
    unsafe { *time = Timespec { seconds: now / 1_000_000_000, nanoseconds: now % 1_000_000_000 } };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(time: *mut Timeval, _: *mut c_void) -> c_int {
    let now = now();
    // SAFETY: the caller's pointer is to a timeval.
    unsafe { *time = Timeval { seconds: now / 1_000_000_000, microseconds: now % 1_000_000_000 / 1_000 } };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(time: *mut i64) -> i64 {
    let now = now() / 1_000_000_000;
    if !time.is_null() {
        // SAFETY: the caller's pointer is to a time.
        unsafe { *time = now };
    }
    now
}
