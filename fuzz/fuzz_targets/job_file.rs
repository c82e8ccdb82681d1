#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_fuzz::job_file::run(bytes));
